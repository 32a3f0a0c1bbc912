"""Data sets: how they are read and split, and the errors for bad files."""

import gzip
import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mixzoo import DataError
from mixzoo.registry.config import resolve
from mixzoo.registry.zoo import load_zoo
from mixzoo_datasets import cifar, download, svhn
from mixzoo_datasets.idx import IMAGES, LABELS, MNIST, read_idx
from mixzoo_datasets.splits import resize, shuffled_order


@pytest.fixture(scope="module")
def zoo():
    return load_zoo()


@pytest.fixture
def shared_data():
    """The folder of real data sets: MIXZOO_TEST_DATA, or next to the checkout."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MIXZOO_TEST_DATA", default))
    if not (folder / "MNIST").is_dir():
        pytest.skip(f"no real data in {folder}; MIXZOO_TEST_DATA names another folder")
    return folder


def idx_bytes(array, kind=8):
    header = bytes([0, 0, kind, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def mnist_root(tmp_path):
    """A small MNIST: 10,040 train images and 20 test images."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, count in (("train", 10_040), ("t10k", 20)):
        (raw / f"{split}-{IMAGES}").write_bytes(idx_bytes(rng.integers(0, 256, (count, 28, 28))))
        (raw / f"{split}-{LABELS}.gz").write_bytes(gzip.compress(idx_bytes(np.arange(count) % 10)))
    return tmp_path


def load(root, seed=0, **options):
    return MNIST(root=str(root), **options).load(seed)


# --- digits and splits


def test_digits_need_no_files_and_have_ten_classes_in_every_split(zoo):
    data = zoo.recipe("dataset", "digits").load(0)
    assert data.image_shape == (1, 32, 32)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [1257, 180, 360]
    for split in (data.train, data.validation, data.test):
        assert split.images.dtype == torch.uint8
        assert split.labels.unique().tolist() == list(range(10))
    assert data.train.images.amax() == 255


def test_the_splits_do_not_depend_on_the_seed_and_are_disjoint(mnist_root):
    a, b = load(mnist_root, seed=0), load(mnist_root, seed=1)
    assert a.fingerprint == b.fingerprint
    assert [len(s) for s in (a.train, a.validation, a.test)] == [40, 10_000, 20]
    order = shuffled_order(10_040)
    everything = read_idx(mnist_root / "MNIST" / "raw" / f"train-{IMAGES}", axes=3)
    assert torch.equal(a.train.images, resize(everything[order[:40]][:, None]))
    assert torch.equal(a.validation.labels, (order[40:] % 10))


def test_the_shuffle_is_the_one_the_paper_used():
    assert shuffled_order(10).tolist() == [2, 8, 4, 9, 1, 6, 7, 3, 0, 5]  # numpy.random.RandomState(0).shuffle


def test_a_subset_of_the_train_images_depends_on_the_seed_and_nothing_else_does(mnist_root):
    a, again, b = (load(mnist_root, seed=s, train_images=15) for s in (0, 0, 1))
    assert len(a.train) == len(b.train) == 15
    assert a.fingerprint == again.fingerprint
    assert not torch.equal(a.train.images, b.train.images)
    assert torch.equal(a.validation.images, b.validation.images)
    assert torch.equal(a.test.images, b.test.images)
    whole = {bytes(image.numpy().tobytes()) for image in load(mnist_root).train.images}
    assert {bytes(image.numpy().tobytes()) for image in b.train.images} <= whole


def test_more_train_images_than_there_are_is_refused(mnist_root):
    with pytest.raises(DataError, match="train_images=41, but the train split has only 40 images"):
        load(mnist_root, train_images=41)


def test_an_empty_split_is_refused(mnist_root):
    raw = mnist_root / "MNIST" / "raw"
    (raw / f"train-{IMAGES}").write_bytes(idx_bytes(np.zeros((100, 28, 28))))
    (raw / f"train-{LABELS}.gz").write_bytes(gzip.compress(idx_bytes(np.zeros(100))))
    with pytest.raises(DataError, match="the train split would be empty"):
        load(mnist_root)


def test_resizing_equals_pillows_bilinear_pixel_for_pixel():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (200, 28, 28), dtype=np.uint8)
    ours = resize(torch.from_numpy(images)[:, None])[:, 0].numpy()
    pillows = [np.asarray(Image.fromarray(i).resize((32, 32), Image.Resampling.BILINEAR)) for i in images]
    assert (ours == np.stack(pillows)).all()


# --- IDX files

BAD_IDX = {
    "empty": (b"", r"not an IDX file of bytes \(begins with nothing, not 000008\)"),
    "html": (b"<html>", "begins with 3c68746d, not 000008"),
    "floats": (idx_bytes(np.zeros((2, 28, 28)), kind=13), "begins with 00000d03"),
    "axes": (idx_bytes(np.zeros(5)), "1 axes, expected 3"),
    "trailing": (
        idx_bytes(np.zeros((2, 28, 28))) + b"x",
        "more than 1584 bytes, but 2x28x28 entries need 1584; the file is damaged",
    ),
    "enormous": (b"\0\0\x08\x03" + b"\x7f\xff\xff\xff" * 3, "damaged"),
}


@pytest.mark.parametrize("kind", BAD_IDX)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_damaged_idx_file_is_named_with_what_was_found(tmp_path, kind, zipped):
    content, message = BAD_IDX[kind]
    path = tmp_path / "images"
    if zipped:
        tmp_path.joinpath("images.gz").write_bytes(gzip.compress(content))
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path, axes=3)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("cut", range(0, 1584, 83))
def test_a_truncated_idx_file_is_never_filled_up(tmp_path, cut):
    path = tmp_path / "images"
    path.write_bytes(idx_bytes(np.ones((2, 28, 28)))[:cut])
    with pytest.raises(DataError, match=str(path)):
        read_idx(path, axes=3)


def test_a_damaged_gzip_is_named(tmp_path):
    whole = bytearray(gzip.compress(idx_bytes(np.ones((2, 28, 28)))))
    for content in (whole[:-9], whole[:-8] + b"\0\0\0\0" + whole[-4:], b"no gzip"):
        (tmp_path / "images.gz").write_bytes(content)
        with pytest.raises(DataError, match=r"images\.gz: cannot be read .*the file is damaged, or access is denied"):
            read_idx(tmp_path / "images", axes=3)


def test_a_missing_file_says_how_to_get_it(tmp_path):
    with pytest.raises(
        DataError,
        match=r"missing MNIST/raw/train-images-idx3-ubyte \(or train-.*\.gz\); download=true fetches it",
    ):
        load(tmp_path)


def test_images_and_labels_of_different_number_are_refused(mnist_root):
    (mnist_root / "MNIST" / "raw" / f"t10k-{LABELS}.gz").write_bytes(gzip.compress(idx_bytes(np.zeros(19))))
    with pytest.raises(DataError, match="20 t10k images and 19 labels; the files do not match"):
        load(mnist_root)


def test_a_label_out_of_range_is_named_with_its_image(mnist_root):
    labels = np.arange(20) % 10
    labels[7] = 12
    (mnist_root / "MNIST" / "raw" / f"t10k-{LABELS}.gz").write_bytes(gzip.compress(idx_bytes(labels)))
    with pytest.raises(DataError, match=r"label 12 of image 7 is not in 0\.\.9"):
        load(mnist_root)


# --- real data


def test_real_mnist_has_the_published_counts_and_mean(shared_data):
    data = load(shared_data)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [50_000, 10_000, 10_000]
    labels = torch.cat([data.train.labels, data.validation.labels])
    assert labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert data.train.images.double().mean().item() / 255 == pytest.approx(0.1307, abs=0.001)


def test_kmnist_without_train_images_names_the_missing_file(shared_data, zoo):
    if (shared_data / "KMNIST" / "raw" / f"train-{IMAGES}.gz").exists():
        pytest.skip("all of KMNIST is here")
    with pytest.raises(DataError, match="missing KMNIST/raw/train-images-idx3-ubyte"):
        zoo.recipe("dataset", f'kmnist:root="{shared_data}"').load(0)


# --- CIFAR-10


def cifar_images(count):
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, 3072), dtype=np.uint8), [i % 10 for i in range(count)]


@pytest.fixture(params=["protocol 2", "as published", "binary"])
def cifar_root(request, tmp_path):
    binary = request.param == "binary"
    folder = tmp_path / (cifar.BINARY if binary else cifar.PICKLED)
    folder.mkdir()
    for name in cifar.TRAIN + cifar.TEST:
        pixels, labels = cifar_images(2100 if name != "test_batch" else 30)
        if binary:
            rows = np.concatenate([np.array(labels, np.uint8)[:, None], pixels], axis=1)
            (folder / f"{name}.bin").write_bytes(rows.tobytes())
            continue
        content = {b"batch_label": b"x", b"labels": labels, b"data": pixels, b"filenames": [b"a.png"] * len(labels)}
        dumped = pickle.dumps(content, protocol=2)
        (folder / name).write_bytes(dumped if request.param == "protocol 2" else as_published(pixels, labels))
    return tmp_path


def as_published(pixels, labels):
    """A batch as Python 2 wrote it: pixels and keys are its byte strings."""
    raw = pixels.tobytes()
    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    head = b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x01xq\x03U\x06labelsq\x04]q\x05(" + numbers + b"e"
    return head + b"U\x04dataq\x06T" + len(raw).to_bytes(4, "little") + raw + b"q\x07u."


def test_cifar_batches_are_read_without_being_unpickled(cifar_root, monkeypatch):
    monkeypatch.setattr(pickle, "Unpickler", None)
    monkeypatch.setattr(pickle, "loads", None)
    split = cifar.read_batches(cifar_root, cifar.TEST)
    pixels, labels = cifar_images(30)
    assert (split.images.numpy().reshape(30, -1) == pixels).all()
    assert split.labels.tolist() == labels


def test_cifar_is_split_as_in_the_paper(cifar_root):
    data = cifar.CIFAR10(root=str(cifar_root)).load(0)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [500, 10_000, 30]
    assert data.image_shape == (3, 32, 32)


def test_a_hostile_batch_runs_nothing(tmp_path):
    class Canary:
        def __reduce__(self):
            return (Path(tmp_path / "canary").touch, ())

    (tmp_path / cifar.PICKLED).mkdir()
    (tmp_path / cifar.PICKLED / "test_batch").write_bytes(pickle.dumps({b"labels": [1], b"data": Canary()}))
    with pytest.raises(DataError, match="bytes of pixels for 1 labels, expected 3072 each; the file is damaged"):
        cifar.read_batches(tmp_path, cifar.TEST)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x80\x02}q\x01(U\xff"])
def test_a_damaged_cifar_batch_is_named(tmp_path, content):
    (tmp_path / cifar.PICKLED).mkdir()
    (tmp_path / cifar.PICKLED / "test_batch").write_bytes(content)
    with pytest.raises(DataError, match=r"test_batch: .*damaged"):
        cifar.read_batches(tmp_path, cifar.TEST)


def test_a_missing_cifar_folder_says_how_to_get_it(tmp_path):
    with pytest.raises(DataError, match="missing cifar-10-batches-py/data_batch_1; download=true fetches it"):
        cifar.CIFAR10(root=str(tmp_path)).load(0)


def test_a_binary_batch_of_a_wrong_length_is_refused(tmp_path):
    (tmp_path / cifar.BINARY).mkdir()
    (tmp_path / cifar.BINARY / "test_batch.bin").write_bytes(bytes(3074))
    with pytest.raises(DataError, match="3074 bytes, not a multiple of 3073; the file is damaged"):
        cifar.read_batches(tmp_path, cifar.TEST)


# --- SVHN


def mat(path, images, labels):
    from scipy.io import savemat

    savemat(path, {"X": images, "y": labels})


def test_svhn_is_read_with_ten_as_zero_and_split_nine_to_one(tmp_path):
    rng = np.random.default_rng(0)
    for name, count in (("train", 40), ("test", 10)):
        images = rng.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        mat(tmp_path / f"{name}_32x32.mat", images, (np.arange(count) % 10 + 1)[:, None].astype(np.uint8))
    data = svhn.SVHN(root=str(tmp_path)).load(0)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [36, 4, 10]
    assert data.test.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert (data.test.images[3].numpy() == images[:, :, :, 3].transpose(2, 0, 1)).all()


def test_bad_svhn_files_are_named(tmp_path):
    path = tmp_path / "train_32x32.mat"
    with pytest.raises(DataError, match=r"missing train_32x32\.mat; download=true fetches it"):
        svhn.SVHN(root=str(tmp_path)).load(0)
    path.write_bytes(b"<html>" * 100)
    with pytest.raises(DataError, match="not a MATLAB file with X and y"):
        svhn.read_mat(path)
    mat(path, np.zeros((8, 8, 3, 2), np.uint8), np.ones((2, 1)))
    with pytest.raises(DataError, match=r"X is \[8, 8, 3, 2\], expected \[32, 32, 3, n\]"):
        svhn.read_mat(path)
    mat(path, np.zeros((32, 32, 3, 2), np.uint8), np.ones((3, 1)))
    with pytest.raises(DataError, match="2 images and 3 labels"):
        svhn.read_mat(path)


# --- folder


@pytest.fixture
def photos(tmp_path):
    """Two classes of 15 grey images of 8x8."""
    for name, value in (("cats", 40), ("dogs", 200)):
        (tmp_path / name).mkdir()
        for i in range(15):
            Image.new("L", (8, 8), value + i).save(tmp_path / name / f"{i:02}.png")
    return tmp_path


def folder(zoo, path, options="", seed=0):
    return zoo.recipe("dataset", f'folder:path="{path}"{options}').load(seed)


def test_a_folder_gives_classes_from_its_sub_folders(zoo, photos):
    data = folder(zoo, photos)
    assert data.class_names == ("cats", "dogs")
    assert data.image_shape == (1, 8, 8)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [24, 3, 3]
    for split in (data.train, data.validation, data.test):
        assert torch.equal(split.images[:, 0, 0, 0] > 100, split.labels == 1)


def test_a_folder_without_sub_folders_is_one_class(zoo, photos):
    data = folder(zoo, photos / "cats")
    assert data.class_names == ("cats",)
    assert len(data.train) + len(data.validation) + len(data.test) == 15


def test_a_folder_resizes_the_central_square(zoo, photos):
    wide = Image.new("RGB", (30, 10), "red")
    wide.paste((0, 0, 255), (10, 0, 20, 10))
    wide.save(photos / "cats" / "00.png")
    data = folder(zoo, photos, ",size=16,mode=rgb")
    assert data.image_shape == (3, 16, 16)
    images = torch.cat([s.images for s in (data.train, data.validation, data.test)])
    blue = images[(images[:, 2] == 255).flatten(1).all(1)]
    assert len(blue) == 1
    assert (blue[0, 0] == 0).all()


def test_a_folder_of_mixed_sizes_lists_them(zoo, photos):
    Image.new("L", (9, 8)).save(photos / "cats" / "00.png")
    with pytest.raises(DataError, match=r"images of 2 sizes: 8x8 \(29\), 9x8 \(1\); give size= to resize them"):
        folder(zoo, photos)


def test_every_image_that_cannot_be_read_is_counted_and_the_first_named(zoo, photos):
    for i in range(7):
        (photos / "dogs" / f"{i:02}.png").write_bytes(b"\x89PNG no more")
    with pytest.raises(DataError, match=r"7 of 30 images cannot be read: dogs/00\.png .*dogs/04\.png .* and 2 more"):
        folder(zoo, photos)


def test_an_image_of_too_many_pixels_is_refused_from_its_header(zoo, photos, monkeypatch):
    monkeypatch.setattr("mixzoo.data.picture_file.MAX_PIXELS", 63)
    with pytest.raises(
        DataError, match=r"30 of 30 images cannot be read: cats/00.png .8x8 pixels; at most 63 are allowed"
    ):
        folder(zoo, photos)


def test_missing_empty_and_untidy_folders_are_named(zoo, tmp_path, photos):
    with pytest.raises(DataError, match="nowhere: no such folder; give path=FOLDER"):
        folder(zoo, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: contains no images"):
        folder(zoo, tmp_path / "empty")
    Image.new("L", (8, 8)).save(photos / "loose.png")
    with pytest.raises(DataError, match=r"1 images outside the class folders, such as loose.png; move them"):
        folder(zoo, photos)


def test_a_folder_of_too_few_images_for_three_splits_is_refused(zoo, tmp_path):
    for i in range(5):
        Image.new("L", (8, 8)).save(tmp_path / f"{i}.png")
    with pytest.raises(DataError, match=r"the validation split would be empty \(5 images in all\)"):
        folder(zoo, tmp_path)


# --- downloads: from a file:// address, never the network


def test_a_file_is_downloaded_only_when_asked_for_and_checked(tmp_path):
    source, target = tmp_path / "source", tmp_path / "there" / "target"
    source.write_bytes(b"content")
    download.fetch(source.as_uri(), target, "9a0364b9e99bb480dd25e1f0284c8555")
    assert target.read_bytes() == b"content"
    source.unlink()
    download.fetch(source.as_uri(), target, "9a0364b9e99bb480dd25e1f0284c8555")  # there already


def test_a_wrong_file_or_no_network_leaves_nothing(tmp_path):
    source, target = tmp_path / "source", tmp_path / "there" / "target"
    source.write_bytes(b"another")
    with pytest.raises(DataError, match=r"MD5 .*, expected 0000; the file was discarded"):
        download.fetch(source.as_uri(), target, "0000")
    with pytest.raises(DataError, match=r"cannot be fetched into .*No such file"):
        download.fetch((tmp_path / "nothing").as_uri(), target, "0000")
    assert list((tmp_path / "there").iterdir()) == []


def test_only_the_batch_files_of_an_archive_are_written(tmp_path):
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in (f"{cifar.PICKLED}/test_batch", f"{cifar.PICKLED}/readme.html", "../escaped"):
            member = tarfile.TarInfo(name)
            member.size = 2
            tar.addfile(member, io.BytesIO(b"ok"))
    (tmp_path / "out").mkdir()
    cifar.unpack(archive, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").rglob("*") if p.is_file()] == ["test_batch"]
    archive.write_bytes(b"no archive")
    with pytest.raises(DataError, match="cannot be unpacked"):
        cifar.unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("spec", ["cifar10", "folder:path=photos"])
def test_photographs_have_a_larger_code_unless_the_run_says_another(zoo, spec):
    assert resolve(zoo, None, {"dataset": spec}, {}).parts["autoencoder"].latent == 16
    assert resolve(zoo, None, {"dataset": spec, "autoencoder": "amr"}, {}).parts["autoencoder"].latent == 2
