"""Error level analysis: what one more JPEG compression changes.

Krawetz, "A Picture's Worth: Digital Image Analysis and Forensics", Black Hat 2007. The frame is compressed at a known
quality; parts that have been compressed less often, or at a higher quality, are further from their fixed point and
change more. Differences: the mean over channels is averaged over 17x17 px, because a person looks at regions and a
metric at pixels, and divided by local contrast, because edges change more whatever their history.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthesis.compression import jpeg
from training.synthesis.sample import Frame

QUALITY = 90
WINDOW = (17, 17)
"""px"""


def heatmap(frame: Frame) -> NDArray[np.float32]:
    """``e / (e + c)`` in [0, 1), [H, W]; e is the error level in grey levels, c the contrast that explains it."""
    error = np.abs(jpeg(frame, QUALITY, subsample=False).astype(np.float32) - frame).mean(2)
    grey = frame.astype(np.float32).mean(2)
    contrast = cv2.blur(np.abs(grey - cv2.blur(grey, (3, 3))), WINDOW)
    level = cv2.blur(error, WINDOW)
    return np.asarray(level / (level + contrast + 1), np.float32)
