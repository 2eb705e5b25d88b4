"""The selective scan in PyTorch: its operator, blocks forward and backward, the plain loop; mamba-ssm's kernel."""
