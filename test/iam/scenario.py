"""boto3 against IAM and STS: what the service models name must come back, and
errors must be the exceptions of the model. Prints one JSON object."""
import json
import sys
import urllib.request

import boto3
from botocore.exceptions import ClientError

account, assertion, token, issuer, saml_url = sys.argv[1], *(open(p).read() if p.endswith((".txt", ".jwt")) else p for p in sys.argv[2:])
iam, sts = boto3.client("iam"), boto3.client("sts")
out = {}


def refused(call, **parameters):
    try:
        call(**parameters)
    except ClientError as e:
        return [type(e).__name__, e.response["Error"]["Code"], e.response["ResponseMetadata"]["HTTPStatusCode"]]
    return "allowed"


def trust(kind, principal, action, condition):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {kind: principal}, "Action": action, "Condition": condition}]})


provider = iam.create_saml_provider(Name="dev-idp", SAMLMetadataDocument=open("idp-metadata.xml").read())["SAMLProviderArn"]
host = issuer.removeprefix("http://")
oidc = iam.create_open_id_connect_provider(Url=issuer, ClientIDList=["sts.amazonaws.com"])["OpenIDConnectProviderArn"]
analyst = iam.create_role(RoleName="analyst", AssumeRolePolicyDocument=trust("Federated", provider, "sts:AssumeRoleWithSAML", {"StringEquals": {"SAML:aud": saml_url}}))["Role"]
job = iam.create_role(RoleName="job", AssumeRolePolicyDocument=trust("Federated", oidc, "sts:AssumeRoleWithWebIdentity", {"StringEquals": {host + ":aud": "sts.amazonaws.com"}}))["Role"]
for role in ("analyst", "job"):
    iam.get_waiter("role_exists").wait(RoleName=role)
    iam.put_role_policy(RoleName=role, PolicyName="read", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}]}))
out["role"] = [analyst["Arn"], analyst["RoleId"][:4], analyst["MaxSessionDuration"] if "MaxSessionDuration" in analyst else None]
out["trust"] = iam.get_role(RoleName="analyst")["Role"]["AssumeRolePolicyDocument"]["Statement"][0]["Action"]
out["roles"] = [r["RoleName"] for page in iam.get_paginator("list_roles").paginate(PaginationConfig={"PageSize": 1}) for r in page["Roles"]]


def whoami(credentials):
    c = boto3.client("sts", aws_access_key_id=credentials["AccessKeyId"], aws_secret_access_key=credentials["SecretAccessKey"], aws_session_token=credentials["SessionToken"])
    presigned = c.generate_presigned_url("get_caller_identity", HttpMethod="GET")
    with urllib.request.urlopen(presigned) as answer:
        assert b"<GetCallerIdentityResult>" in answer.read()
    return c.get_caller_identity()["Arn"]


saml = sts.assume_role_with_saml(RoleArn=analyst["Arn"], PrincipalArn=provider, SAMLAssertion=assertion)
out["saml"] = [whoami(saml["Credentials"]), saml["SubjectType"], saml["Audience"] == saml_url, saml["AssumedRoleUser"]["AssumedRoleId"].split(":")[1]]
web = sts.assume_role_with_web_identity(RoleArn=job["Arn"], RoleSessionName="nightly", WebIdentityToken=token)
out["web"] = [whoami(web["Credentials"]), web["SubjectFromWebIdentityToken"], web["Audience"]]
out["refused"] = [
    refused(iam.get_role, RoleName="nobody"), refused(iam.create_role, RoleName="job", AssumeRolePolicyDocument="{}"),
    refused(iam.delete_role, RoleName="job"), refused(iam.put_role_policy, RoleName="job", PolicyName="x", PolicyDocument="{"),
    refused(sts.assume_role_with_web_identity, RoleArn=job["Arn"], RoleSessionName="nightly", WebIdentityToken="a.b.c" * 10),
    refused(sts.assume_role_with_saml, RoleArn=job["Arn"], PrincipalArn=provider, SAMLAssertion=assertion),
    refused(sts.assume_role, RoleArn=analyst["Arn"], RoleSessionName="etl"),
]
simulated = iam.simulate_principal_policy(PolicySourceArn=job["Arn"], ActionNames=["s3:GetObject", "s3:PutObject"], ResourceArns=["arn:aws:s3:::sales/a"])
out["simulated"] = [[r["EvalActionName"], r["EvalDecision"], len(r["MatchedStatements"])] for r in simulated["EvaluationResults"]]
print(json.dumps(out))
