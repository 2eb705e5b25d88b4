"""Every backbone, built from its paper, and the way to any timm model. Imports registry and core.

Importing this package enters our names in timm, so that `timm.create_model("atlas_s")` works.
"""

from atlasbench.models.torchvision_guard import declare_missing_torchvision_operators

declare_missing_torchvision_operators()  # before the first import of timm

from atlasbench.models.timm_entry import enter_in_timm  # noqa: E402

enter_in_timm()
