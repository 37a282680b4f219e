"""The recipes of docs/recipes.md, and a container of the image with their programs in which they are run."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

from oss_server import OssServer
from pages.markdown import page
from scripts import leftovers

TAG = "aggregation-tools:test"
PAGE = page("docs/recipes.md")
RUN = 'docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/data:/mnt/vol" aggregation-tools'
"""How each line of the page begins."""

Ran = subprocess.CompletedProcess[str]


class Recipe:
    """A recipe of the page: its line, and a folder of the volume that the line works on."""

    def __init__(self, words: list[str], volume: Path) -> None:
        self.words = words
        self.root = volume / self.option("--root").removeprefix("/mnt/vol/")
        self.suffix = self.option("--suffix", ".txt")

    def option(self, name: str, default: str = "") -> str:
        """What follows an option of the line."""
        return self.words[self.words.index(name) + 1] if name in self.words else default

    @property
    def last_command(self) -> str:
        """The command that makes the result."""
        return self.option("--final-command", self.option("--command"))

    @property
    def result(self) -> Path:
        """The file that the line makes."""
        return self.root / self.option("--output", f"result{self.suffix}")

    @property
    def ending(self) -> str:
        """How the result's name ends."""
        return "".join(self.result.suffixes)

    def path(self, number: int) -> Path:
        """An input."""
        return self.root / "l1" / f"{number}{self.suffix}"


class Container:
    """A container of the image, over a folder of this machine, in which the page's lines are run."""

    def __init__(self, name: str, volume: Path) -> None:
        self._name = name
        self.volume = volume

    def recipe(self, heading: str) -> Recipe:
        """The recipe below a heading of the page, whose folder is there and empty."""
        blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.section(heading), re.DOTALL | re.MULTILINE)
        (block,) = [text for text in blocks if text.startswith(RUN)]
        recipe = Recipe(shlex.split(block.removeprefix(RUN).replace("\\\n", " ")), self.volume)
        shutil.rmtree(recipe.root, ignore_errors=True)
        (recipe.root / "l1").mkdir(parents=True)
        return recipe

    def attempt(self, *words: object, **variables: str) -> Ran:
        """Run a program in the container."""
        given = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
        return subprocess.run(
            ["docker", "exec", *given, self._name, *map(str, words)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def run(self, *words: object, **variables: str) -> str:
        """The same where it must succeed; returns what it printed."""
        done = self.attempt(*words, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def shell(self, script: str, *arguments: object) -> str:
        """Run a shell's lines in the volume's folder; returns what they printed."""
        return self.run("sh", "-euc", f"cd /mnt/vol; {script}", "sh", *arguments)

    def inside(self, path: Path) -> str:
        """A path of the volume as the container has it."""
        return f"/mnt/vol/{path.relative_to(self.volume)}"

    def make(self, recipe: Recipe) -> Path:
        """Run the page's line as it stands; gives the result, beside which nothing is left."""
        self.run(*recipe.words)
        assert leftovers(recipe.root) == []
        return recipe.result

    def make_flat(self, recipe: Recipe, files: int) -> Path:
        """Merge all inputs at once, by the same command."""
        output = f"flat{recipe.ending}"
        options = ["--root", recipe.option("--root"), "--suffix", recipe.suffix, "--output", output]
        self.run("merge.py", files, "--level", 1, *options, "--command", recipe.last_command)
        assert leftovers(recipe.root) == []
        return recipe.root / output

    def make_on_oss(self, recipe: Recipe) -> Path:
        """Run the page's line on objects; gives the result, fetched into the volume."""
        with OssServer(["demo"]) as server:
            for path in sorted((recipe.root / "l1").iterdir()):
                server.put("demo", f"{recipe.root.name}/l1/{path.name}", path.read_bytes())
            words = [
                word.replace("/mnt/vol/", "oss://demo/", word.startswith("/mnt/vol")) for word in recipe.words
            ]
            self.run(*words, **server.environment())
            fetched = recipe.root / f"fetched{recipe.ending}"
            fetched.write_bytes(server.get("demo", f"{recipe.root.name}/{recipe.result.name}"))
            assert server.uploads("demo") == []
        return fetched

    def refused(self, recipe: Recipe, number: int, content: bytes) -> str:
        """Run the page's line with a broken input: nothing appears; gives all that was said."""
        path = recipe.path(number)
        kept, before = path.read_bytes(), recipe.result.read_bytes() if recipe.result.exists() else None
        path.write_bytes(content)
        done = self.attempt(*recipe.words)
        path.write_bytes(kept)
        assert done.returncode == 7, done.stderr
        assert done.stderr.splitlines()[-1].startswith(f"{recipe.words[0]}: error: running ")
        assert (recipe.result.read_bytes() if recipe.result.exists() else None) == before
        assert not [name for name in leftovers(recipe.root) if name.endswith(".tmp")]
        return done.stderr
