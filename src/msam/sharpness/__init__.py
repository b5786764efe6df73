"""Sharpness, curvature and loss surfaces: of everything, of one modality's encoder or of the fusion.

    from msam.sharpness import Landscape, ball_sharpness, top_eigenvalues

    objective = Objective(model, F.cross_entropy)
    audio = Landscape(objective, batches, block="audio")             # the loss as a function of the audio encoder
    ball_sharpness(audio, rho=0.05).value, top_eigenvalues(audio).values[0]

Everything is measured in evaluation mode on fixed data from a recorded seed, and the model is the same afterwards, bit
for bit. Sharpness does not rank generalisation across settings (Andriushchenko et al. 2023, arXiv 2302.07011): report
it beside accuracy, never instead.
"""

from msam.sharpness.ball import Sharpness, average_sharpness, ball_sharpness, m_sharpness
from msam.sharpness.eigenvalues import Eigenvalues, top_eigenvalues
from msam.sharpness.hutchinson import Trace, trace
from msam.sharpness.landscape import Landscape
from msam.sharpness.quadrature import Density, density
from msam.sharpness.record import Cost, Site
from msam.sharpness.surfaces import Plane, Surface, random_plane, surface, trajectory_plane

__all__ = [
    "Cost",
    "Density",
    "Eigenvalues",
    "Landscape",
    "Plane",
    "Sharpness",
    "Site",
    "Surface",
    "Trace",
    "average_sharpness",
    "ball_sharpness",
    "density",
    "m_sharpness",
    "random_plane",
    "surface",
    "top_eigenvalues",
    "trace",
    "trajectory_plane",
]
