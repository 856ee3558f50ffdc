"""`python -m fovea VERB ...` is `fovea VERB ...`."""

from fovea.pipelines.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
