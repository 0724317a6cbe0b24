import pytest

from transferkit.backbones.build import build
from transferkit.data.augmentation.augment import augmentation
from transferkit.data.images.decode import DecodeSettings
from transferkit.data.source import scan
from transferkit.features.row_sources import Views


@pytest.fixture(scope="session")
def samples(digits):
    """Thirty digits, three of each class, hashed."""
    found = scan(digits).hashed()
    return found.select([i for i in range(len(found)) if i % 20 < 3])


@pytest.fixture
def mini():
    return build("mini")


@pytest.fixture
def views():
    return Views(DecodeSettings(32), augmentation("light"), 2, 0)
