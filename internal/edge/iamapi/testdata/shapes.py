"""Reads answers of Carnet's IAM, one JSON document a line, with botocore's own
parser, and holds every element to the shapes of botocore's IAM model: nothing
unknown, nothing required missing, values of the stated type, length, pattern
and enumeration. Prints each difference; the last line counts."""
import json
import re
import sys
import xml.etree.ElementTree as ET

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser

# Elements that AWS sends otherwise than its model says, with what it sends.
ALLOWED = {
    'SourcePolicyType': ('IAM Policy', 'Resource Policy', 'IAM Permissions Boundary Policy', 'Session Policy'),
}

model = ServiceModel(Loader().load_service_model('iam', 'service-2'))
parser = create_parser(model.metadata['protocol'])
problems = []


def plain(tag):
    return tag.split('}', 1)[-1]


def check(path, element, shape):
    kind = shape.type_name
    if kind == 'structure':
        seen = {}
        for child in element:
            name = plain(child.tag)
            if name in seen:
                problems.append(f'{path}.{name}: twice')
            seen[name] = True
            if name not in shape.members:
                problems.append(f'{path}.{name}: not in the model')
                continue
            check(f'{path}.{name}', child, shape.members[name])
        for name in shape.required_members:
            if name not in seen:
                problems.append(f'{path}.{name}: required and missing')
    elif kind == 'list':
        for child in element:
            if plain(child.tag) != 'member':
                problems.append(f'{path}: {plain(child.tag)} instead of member')
            check(f'{path}[]', child, shape.member)
    elif kind == 'map':
        for entry in element:
            names = [plain(x.tag) for x in entry]
            if plain(entry.tag) != 'entry' or names != ['key', 'value']:
                problems.append(f'{path}: {plain(entry.tag)} of {names}')
                continue
            check(f'{path}.key', entry[0], shape.key)
            check(f'{path}.value', entry[1], shape.value)
    else:
        scalar(path, element.text or '', shape)


def scalar(path, text, shape):
    kind, meta = shape.type_name, shape.metadata
    if kind == 'boolean' and text not in ('true', 'false'):
        problems.append(f'{path}: {text!r} is no boolean')
    if kind == 'integer' and not re.fullmatch(r'-?\d+', text):
        problems.append(f'{path}: {text!r} is no integer')
    if kind == 'timestamp' and not re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ', text):
        problems.append(f'{path}: {text!r} is no time')
    if kind != 'string' or text in ALLOWED.get(path.rsplit('.', 1)[-1], ()):
        return
    if shape.enum and text not in shape.enum:
        problems.append(f'{path}: {text!r} is none of {shape.enum}')
    if len(text) < meta.get('min', 0) or len(text) > meta.get('max', 1 << 30):
        problems.append(f'{path}: {len(text)} characters, want {meta.get("min")} to {meta.get("max")}')


answers = 0
operations = set()
for line in sys.stdin:
    answer = json.loads(line)
    operation = model.operation_model(answer['action'])
    operations.add(answer['action'])
    answers += 1
    body = answer['body'].encode()
    parsed = parser.parse({'status_code': answer['status'], 'headers': {}, 'body': body}, operation.output_shape)
    if answer['status'] >= 300:
        code = parsed['Error']['Code']
        documented = {e.metadata.get('error', {}).get('code', e.name) for e in operation.error_shapes}
        common = {'AccessDenied', 'ValidationError', 'InvalidAction', 'Throttling', 'ServiceFailure'}
        if code not in documented | common:
            problems.append(f'{answer["action"]}: error {code} is not documented')
        continue
    root = ET.fromstring(body)
    names = [plain(x.tag) for x in root]
    wrapped = operation.output_shape is not None
    want = [answer['action'] + 'Result'] if wrapped else []
    if plain(root.tag) != answer['action'] + 'Response' or names != want + ['ResponseMetadata']:
        # botocore takes an answer without its result where nothing is in it
        if not (wrapped and names == ['ResponseMetadata'] and not operation.output_shape.required_members):
            problems.append(f'{answer["action"]}: {plain(root.tag)} of {names}')
    if wrapped and names[0] != 'ResponseMetadata':
        check(answer['action'], root[0], operation.output_shape)
    if not parsed['ResponseMetadata'].get('RequestId'):
        problems.append(f'{answer["action"]}: no request id')

for p in sorted(set(problems)):
    print(p)
print(f'{answers} answers of {len(operations)} operations, {len(set(problems))} differences')
sys.exit(1 if problems else 0)
