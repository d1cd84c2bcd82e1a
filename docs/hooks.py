"""What mkdocs calls while it builds the site: the site gets the repository's own folders.

README.md is its first page, docs/training.md lies at docs/training/, and files that pages link to (configs, pictures,
the notebook) lie where they are in the repository. So a relative link works on both, and nothing is rewritten.
Imports mkdocs alone.
"""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/*.md", "datasets/README.md", "benchmarks/RESULTS.md", "demo/images/ATTRIBUTION.md")
LINKED = ("LICENSE", "configs/**/*.yaml", "demo/*.ipynb", "demo/images/*.jpg", "docs/images/*", "docs/*.sbatch")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Exchange the files of docs/ as mkdocs found them for those of the repository; the theme's stay."""
    for found in list(files):
        if found.src_dir == config.docs_dir:
            files.remove(found)
    for pattern in (*PAGES, *LINKED):
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    return files
