"""The table of what `ovss datasets download` fetches: files, their sizes and checksums, and where they go.

A figure is here only where it was read in public code, and `published` says whose: the benchmarks' own pages have none.
Standard library and `ovss.download.remote_file`.
"""

from dataclasses import dataclass, field

from ovss.download.remote_file import RemoteFile


@dataclass(frozen=True)
class Download(RemoteFile):
    """A file of a benchmark.

    folders: (path in the archive, path below the root of the data sets) pairs; what no pair names stays packed. A file
        that is no archive has one pair, ("", its path below the root).
    split: "train" or "val" where no other split needs the file.
    """

    folders: tuple[tuple[str, str], ...] = field(kw_only=True)
    split: str = ""


@dataclass(frozen=True)
class Source:
    """What one benchmark needs. `terms`: the pages to read first. `by_hand`: how to get what no program may fetch."""

    terms: tuple[str, ...]
    files: tuple[Download, ...] = ()
    by_hand: str = ""


_COCO = "http://images.cocodataset.org/zips"
_VOC = "http://host.robots.ox.ac.uk/pascal/VOC"
_TFDS = "TensorFlow Datasets (url_checksums)"

# The two PASCAL-Context sets share photos. PyTorch-Encoding has the sums: scripts/prepare_pcontext.py.
_VOC2010 = Download(
    url=f"{_VOC}/voc2010/VOCtrainval_03-May-2010.tar",
    name="VOCtrainval_03-May-2010.tar",
    folders=(("VOCdevkit/VOC2010", "VOCdevkit/VOC2010"),),
    checksum="sha1:bf9985e9f2b064752bf6bd654d89f017c76c395a",
    published="PyTorch-Encoding",
)
_CONTEXT_TERMS = ("https://roozbehm.info/pascal-context/", f"{_VOC}/voc2010/")

SOURCES = {
    "coco_stuff": Source(
        terms=("https://cocodataset.org/#termsofuse", "https://github.com/nightrome/cocostuff#licensing"),
        files=(
            Download(
                url=f"{_COCO}/val2017.zip",
                name="val2017.zip",
                folders=(("val2017", "coco-stuff/images/val2017"),),
                split="val",
                size=815_585_330,
                checksum="sha256:4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
                published=_TFDS,
            ),
            Download(
                # 659 MB, says the authors' page; that is no figure to check against.
                url="http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/stuffthingmaps_trainval2017.zip",
                name="stuffthingmaps_trainval2017.zip",
                folders=(
                    ("train2017", "coco-stuff/annotations/train2017"),
                    ("val2017", "coco-stuff/annotations/val2017"),
                ),
            ),
            Download(
                url=f"{_COCO}/train2017.zip",
                name="train2017.zip",
                folders=(("train2017", "coco-stuff/images/train2017"),),
                split="train",
                size=19_336_861_798,
                checksum="sha256:69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
                published=_TFDS,
            ),
        ),
    ),
    "ade20k_150": Source(
        terms=("https://groups.csail.mit.edu/vision/datasets/ADE20K/terms/",),
        files=(
            Download(
                url="http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
                name="ADEChallengeData2016.zip",
                folders=(("ADEChallengeData2016", "ADEChallengeData2016"),),
                size=967_382_037,
                checksum="sha256:7ff1be44964418441f542a7cc1e1a650e7dc0fc275f5d23252bc9bbdbc977b29",
                published=_TFDS,
            ),
        ),
    ),
    "ade20k_full": Source(
        terms=("https://groups.csail.mit.edu/vision/datasets/ADE20K/terms/",),
        by_hand="ask for the full ADE20K at https://groups.csail.mit.edu/vision/datasets/ADE20K/request_data/ (now "
        "also https://ade20k.csail.mit.edu), then unpack the archive of release 2021_17_01 so that "
        "{root}/ADE20K_2021_17_01/index_ade20k.pkl and {root}/ADE20K_2021_17_01/images/ADE/ are there",
    ),
    "voc": Source(
        terms=(f"{_VOC}/voc2012/#rights", "http://home.bharathh.info/pubs/codes/SBD/download.html"),
        files=(
            Download(
                url=f"{_VOC}/voc2012/VOCtrainval_11-May-2012.tar",
                name="VOCtrainval_11-May-2012.tar",
                folders=(("VOCdevkit/VOC2012", "VOCdevkit/VOC2012"),),
                size=1_999_639_040,
                checksum="md5:6cd6e144f989b92b3379bac3b3de84fd",
                published="torchvision (the sum) and TensorFlow Datasets (the size)",
            ),
            Download(
                # dl=1 asks for the file; without it Dropbox answers with a page about the file.
                url="https://www.dropbox.com/s/oeu149j8qtbs1x0/SegmentationClassAug.zip?dl=1",
                name="SegmentationClassAug.zip",
                folders=(("SegmentationClassAug", "VOCdevkit/VOC2012/SegmentationClassAug"),),
            ),
        ),
    ),
    "pascal_context_59": Source(
        terms=_CONTEXT_TERMS,
        files=(
            _VOC2010,
            Download(
                url="https://codalabuser.blob.core.windows.net/public/trainval_merged.json",
                name="trainval_merged.json",
                folders=(("", "VOCdevkit/VOC2010/trainval_merged.json"),),
                checksum="sha1:169325d9f7e9047537fedca7b04de4dddf10b881",
                published="PyTorch-Encoding",
            ),
        ),
    ),
    "pascal_context_459": Source(
        terms=_CONTEXT_TERMS,
        files=(
            _VOC2010,
            Download(
                url="https://roozbehm.info/pascal-context/trainval.tar.gz",
                name="trainval.tar.gz",
                folders=(("trainval", "VOCdevkit/VOC2010/trainval"), ("labels.txt", "VOCdevkit/VOC2010/labels.txt")),
            ),
        ),
    ),
}
