"""What people do with IAM and STS by boto3: Debian's, with its defaults. The keys in the environment are an account's root's."""
import base64
import csv
import datetime
import hashlib
import hmac
import io
import json
import os
import struct
import time

import boto3
from botocore.exceptions import ClientError

endpoint = os.environ["AWS_ENDPOINT_URL"]
other = os.environ["OTHER_ACCOUNT"]  # "ID KEY SECRET" of another account's root


def client(service, key=None):
    if key is None:
        return boto3.client(service, endpoint_url=endpoint)
    return boto3.client(service, endpoint_url=endpoint, aws_access_key_id=key["AccessKeyId"],
                        aws_secret_access_key=key["SecretAccessKey"], aws_session_token=key.get("SessionToken"))


def refused(code, call, **parameters):
    try:
        call(**parameters)
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, (code, e.response)
        return e
    raise AssertionError(f"{call} was not refused: {parameters}")


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def user(name, *statements):
    iam.create_user(UserName=name)
    if statements:
        iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=policy(*statements))
    return iam.create_access_key(UserName=name)["AccessKey"]


iam, sts = client("iam"), client("sts")
account = sts.get_caller_identity()["Account"]

# The alias, and the summary.
iam.create_account_alias(AccountAlias="chem-lab")
assert iam.list_account_aliases()["AccountAliases"] == ["chem-lab"]
assert iam.get_account_summary()["SummaryMap"]["AccountMFAEnabled"] == 0

# A password that the account's policy admits, and its owner's change of it.
refused("NoSuchEntity", iam.get_account_password_policy)
iam.update_account_password_policy(MinimumPasswordLength=12, RequireSymbols=True, PasswordReusePrevention=2, AllowUsersToChangePassword=True)
assert iam.get_account_password_policy()["PasswordPolicy"]["MinimumPasswordLength"] == 12
ann = user("ann", {"Effect": "Allow", "Action": ["iam:ListUsers", "sts:AssumeRole"], "Resource": "*",
                   "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}})
refused("PasswordPolicyViolation", iam.create_login_profile, UserName="ann", Password="TooShort-1")
iam.create_login_profile(UserName="ann", Password="First-Horse-Battery-1", PasswordResetRequired=False)
refused("EntityAlreadyExists", iam.create_login_profile, UserName="ann", Password="First-Horse-Battery-1")
mine = client("iam", ann)
refused("AccessDenied", mine.change_password, OldPassword="not this one", NewPassword="Second-Horse-Battery-2")
refused("PasswordPolicyViolation", mine.change_password, OldPassword="First-Horse-Battery-1", NewPassword="First-Horse-Battery-1")
mine.change_password(OldPassword="First-Horse-Battery-1", NewPassword="Second-Horse-Battery-2")

# An MFA device, as an app on a telephone has it.
device = iam.create_virtual_mfa_device(VirtualMFADeviceName="ann")["VirtualMFADevice"]
seed = base64.b32decode(device["Base32StringSeed"])
assert device["QRCodePNG"][:4] == b"\x89PNG"
step = int(time.time()) // 30


def code(steps):
    mac = hmac.new(seed, struct.pack(">Q", step + steps), hashlib.sha1).digest()
    at = mac[-1] & 15
    return "%06d" % ((struct.unpack(">I", mac[at:at + 4])[0] & 0x7FFFFFFF) % 10**6)


refused("InvalidAuthenticationCode", iam.enable_mfa_device, UserName="ann", SerialNumber=device["SerialNumber"], AuthenticationCode1=code(0), AuthenticationCode2=code(0))
iam.enable_mfa_device(UserName="ann", SerialNumber=device["SerialNumber"], AuthenticationCode1=code(-1), AuthenticationCode2=code(0))
refused("AccessDenied", mine.list_users)
refused("AccessDenied", client("sts", ann).get_session_token, SerialNumber=device["SerialNumber"], TokenCode=code(0))  # counted already
session = client("sts", ann).get_session_token(SerialNumber=device["SerialNumber"], TokenCode=code(1))["Credentials"]
assert [u["UserName"] for u in client("iam", session).list_users()["Users"]] == ["ann"]
assert iam.list_mfa_devices(UserName="ann")["MFADevices"][0]["SerialNumber"] == device["SerialNumber"]

# The report on credentials.
assert iam.generate_credential_report()["State"] == "STARTED"
assert iam.generate_credential_report()["State"] == "COMPLETE"
report = {r["user"]: r for r in csv.DictReader(io.StringIO(iam.get_credential_report()["Content"].decode()))}
row = report["ann"]
assert row["password_enabled"] == "true" and row["mfa_active"] == "true" and row["access_key_1_active"] == "true" and row["access_key_2_active"] == "false", row
assert report["<root_account>"]["arn"] == f"arn:aws:iam::{account}:root"

# A server's certificate; its key never comes back.
body, key = (open(os.environ[n]).read() for n in ("CERTIFICATE", "PRIVATE_KEY"))
made = iam.upload_server_certificate(ServerCertificateName="web", CertificateBody=body, PrivateKey=key, Path="/lab/")["ServerCertificateMetadata"]
assert made["Arn"] == f"arn:aws:iam::{account}:server-certificate/lab/web"
back = iam.get_server_certificate(ServerCertificateName="web")
assert back["ServerCertificate"]["CertificateBody"].strip() == body.strip() and "PRIVATE" not in json.dumps(back, default=str)
refused("MalformedCertificate", iam.upload_server_certificate, ServerCertificateName="bad", CertificateBody="x", PrivateKey=key)
iam.update_server_certificate(ServerCertificateName="web", NewServerCertificateName="www")
assert [c["ServerCertificateName"] for c in iam.list_server_certificates(PathPrefix="/lab/")["ServerCertificateMetadataList"]] == ["www"]

# Roles: of another account with an external id, with a session's policy and tags, one from the other, and revoked.
number, their_key, their_secret = other.split()
theirs = {"AccessKeyId": their_key, "SecretAccessKey": their_secret}
client("iam", theirs).create_user(UserName="agent")
client("iam", theirs).put_user_policy(UserName="agent", PolicyName="take", PolicyDocument=policy({"Effect": "Allow", "Action": ["sts:AssumeRole", "sts:TagSession"], "Resource": "*"}))
agent = client("sts", client("iam", theirs).create_access_key(UserName="agent")["AccessKey"])
iam.create_role(RoleName="auditor", AssumeRolePolicyDocument=policy(
    {"Effect": "Allow", "Principal": {"AWS": number}, "Action": "sts:AssumeRole", "Condition": {"StringEquals": {"sts:ExternalId": "contract-7"}}},
    {"Effect": "Allow", "Principal": {"AWS": number}, "Action": "sts:TagSession", "Condition": {"ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}}))
iam.put_role_policy(RoleName="auditor", PolicyName="own", PolicyDocument=policy(
    {"Effect": "Allow", "Action": ["iam:ListUsers", "iam:ListRoles", "sts:AssumeRole"], "Resource": "*", "Condition": {"StringEquals": {"aws:PrincipalTag/team": "red"}}}))
arn = f"arn:aws:iam::{account}:role/auditor"
tags = [{"Key": "team", "Value": "red"}]
for parameters in ({}, {"ExternalId": "contract-8"}, {"ExternalId": "contract-7", "Tags": tags + [{"Key": "admin", "Value": "yes"}]}):
    refused("AccessDenied", agent.assume_role, RoleArn=arn, RoleSessionName="audit", **parameters)
plain = agent.assume_role(RoleArn=arn, RoleSessionName="audit", ExternalId="contract-7")
assert plain["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{account}:assumed-role/auditor/audit"
refused("AccessDenied", client("iam", plain["Credentials"]).list_users)  # without the tag
tagged = agent.assume_role(RoleArn=arn, RoleSessionName="audit", ExternalId="contract-7", Tags=tags, TransitiveTagKeys=["team"])["Credentials"]
client("iam", tagged).list_users()
narrow = agent.assume_role(RoleArn=arn, RoleSessionName="audit", ExternalId="contract-7", Tags=tags,
                           Policy=policy({"Effect": "Allow", "Action": "iam:ListRoles", "Resource": "*"}))["Credentials"]
client("iam", narrow).list_roles()
refused("AccessDenied", client("iam", narrow).list_users)
iam.create_role(RoleName="second", AssumeRolePolicyDocument=policy({"Effect": "Allow", "Principal": {"AWS": arn}, "Action": ["sts:AssumeRole", "sts:TagSession"]}))
iam.put_role_policy(RoleName="second", PolicyName="own", PolicyDocument=policy(
    {"Effect": "Allow", "Action": "iam:ListGroups", "Resource": "*", "Condition": {"StringEquals": {"aws:PrincipalTag/team": "red"}}}))
chain = dict(RoleArn=f"arn:aws:iam::{account}:role/second", RoleSessionName="chained")
refused("ValidationError", client("sts", tagged).assume_role, DurationSeconds=3601, **chain)
chained = client("sts", tagged).assume_role(**chain)["Credentials"]
client("iam", chained).list_groups()  # the tag has come along
assert chained["Expiration"] - datetime.datetime.now(datetime.timezone.utc) <= datetime.timedelta(hours=1)
refused("AccessDenied", client("iam", chained).list_users)
time.sleep(1)  # what AWS's console writes when it revokes sessions has seconds
iam.put_role_policy(RoleName="auditor", PolicyName="AWSRevokeOlderSessions", PolicyDocument=policy(
    {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"DateLessThan": {"aws:TokenIssueTime": datetime.datetime.utcnow().strftime("%Y-%m-%dT%H:%M:%SZ")}}}))
refused("AccessDenied", client("iam", tagged).list_users)
young = agent.assume_role(RoleArn=arn, RoleSessionName="audit", ExternalId="contract-7", Tags=tags)["Credentials"]
client("iam", young).list_users()
bad = dict(young, SessionToken=tagged["SessionToken"])
refused("InvalidClientTokenId", client("iam", bad).list_users)

# A federated user: what both its maker and the session's policy allow.
fed = sts.get_federation_token(Name="carol", Policy=policy({"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}))["Credentials"]
client("s3", fed).list_buckets()
refused("UnauthorizedOperation", client("ec2", fed).describe_instances)

# A denial that only its readers can read.
eve = user("eve", {"Sid": "NotHere", "Effect": "Deny", "Action": "ec2:CreateVpc", "Resource": "*"})
said = refused("UnauthorizedOperation", client("ec2", eve).create_vpc, CidrBlock="10.0.0.0/16", DryRun=True).response["Error"]["Message"]
encoded = said.rsplit(" ", 1)[1]
refused("AccessDenied", client("sts", eve).decode_authorization_message, EncodedMessage=encoded)
told = json.loads(sts.decode_authorization_message(EncodedMessage=encoded)["DecodedMessage"])
assert told["explicitDeny"] and told["context"]["action"] == "ec2:CreateVpc" and told["matchedStatements"]["items"][0]["statementId"] == "NotHere", told
refused("InvalidAuthorizationMessageException", client("sts", theirs).decode_authorization_message, EncodedMessage=encoded)
refused("DryRunOperation", client("ec2").create_vpc, CidrBlock="10.0.0.0/16", DryRun=True)
print(json.dumps({"secrets": ["Second-Horse-Battery-2", "First-Horse-Battery-1", ann["SecretAccessKey"], eve["SecretAccessKey"], session["SecretAccessKey"],
                              tagged["SecretAccessKey"], device["Base32StringSeed"].decode()], "seed": seed.hex()}))
