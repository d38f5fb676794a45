"""The AWS CLI as far as docs/aws.md uses it, made of botocore, which the emulators bring along.

Names and types of options are checked against AWS's own models. What the emulator at
AWS_ENDPOINT_URL has is sent there; of the rest the words alone are proven.
"""

import json
import os
import sys
from pathlib import Path

import botocore.session
import jmespath
from botocore import xform_name
from botocore.validate import ParamValidator

SENT = {"iam", "kms", "secretsmanager", "sts"}
NOT_SENT = {"stop-replication-to-replica"}
OF_THE_CLI = {"--region", "--query", "--output"}


def options(arguments):
    """Options, each with the words behind it."""
    found = {}
    for word in arguments:
        if word.startswith("--"):
            words = found.setdefault(word, [])
        else:
            words.append(word)
    return found


def value(shape, words):
    """The words behind an option, as the model types them."""
    if shape.type_name == "boolean":
        assert not words, words
        return True
    if shape.type_name == "list":
        return [value(shape.member, [word]) for word in words]
    (word,) = words
    if shape.type_name in {"integer", "long"}:
        return int(word)
    if shape.type_name == "structure":
        pairs = dict(pair.split("=", 1) for pair in word.split(","))
        return {name: value(shape.members[name], [pair]) for name, pair in pairs.items()}
    assert shape.type_name == "string", shape
    return Path(word.removeprefix("file://")).read_text() if word.startswith("file://") else word


def main(service, command, *arguments):
    given = options(arguments)
    own = {name: given.pop(name)[0] for name in OF_THE_CLI & given.keys()}
    region = own.get("--region", os.environ["AWS_DEFAULT_REGION"])
    client = botocore.session.get_session().create_client(service, region_name=region)
    names = {xform_name(name, "-"): name for name in client.meta.service_model.operation_names}
    model = client.meta.service_model.operation_model(names[command])
    members = {"--" + xform_name(name, "-"): name for name in model.input_shape.members}
    request = {
        members[name]: value(model.input_shape.members[members[name]], words)
        for name, words in given.items()
    }
    report = ParamValidator().validate(request, model.input_shape)
    assert not report.has_errors(), report.generate_report()
    if service not in SENT or command in NOT_SENT:
        return
    answer = getattr(client, xform_name(names[command]))(**request)
    answer.pop("ResponseMetadata")
    answer = jmespath.search(own.get("--query", "@"), answer)
    if own.get("--output") == "text":
        texts = answer if isinstance(answer, list) else [answer]
        assert all(isinstance(text, str) for text in texts), answer
        print("\t".join(texts))
    else:
        print(json.dumps(answer, default=str))


main(*sys.argv[1:])
