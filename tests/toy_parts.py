"""The toy parts as a plugin in one file, for commands that run in processes of their own."""

from mixzoo import hookimpl
from toys import ToyData, ToyJudge, ToyNet


@hookimpl
def mixzoo_datasets():
    return {"toy_data": ToyData}


@hookimpl
def mixzoo_autoencoders():
    return {"toy_net": ToyNet}


@hookimpl
def mixzoo_discriminators():
    return {"toy_judge": ToyJudge}
