// The AWS SDK for JavaScript against IAM, STS and S3. Prints one JSON object.
import { readFileSync } from 'node:fs'
import { IAMClient, CreateOpenIDConnectProviderCommand, CreateRoleCommand, CreateSAMLProviderCommand, GetRoleCommand, PutRolePolicyCommand, paginateListRoles } from '@aws-sdk/client-iam'
import { STSClient, AssumeRoleWithSAMLCommand, AssumeRoleWithWebIdentityCommand, GetCallerIdentityCommand } from '@aws-sdk/client-sts'
import { S3Client, ListObjectsV2Command } from '@aws-sdk/client-s3'
import { fromTokenFile } from '@aws-sdk/credential-providers'

const [issuer, samlURL] = process.argv.slice(2)
const host = issuer.replace('http://', '')
const iam = new IAMClient()
const sts = new STSClient()
const out = {}

const refused = async (client, command) => {
  try {
    await client.send(command)
    return 'allowed'
  } catch (e) {
    return [e.name, e.$metadata.httpStatusCode]
  }
}
const trust = (principal, action, condition) =>
  JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Principal: { Federated: principal }, Action: action, Condition: { StringEquals: condition } }] })

const provider = (await iam.send(new CreateSAMLProviderCommand({ Name: 'dev-idp', SAMLMetadataDocument: readFileSync('idp-metadata.xml', 'utf8') }))).SAMLProviderArn
const oidc = (await iam.send(new CreateOpenIDConnectProviderCommand({ Url: issuer, ClientIDList: ['sts.amazonaws.com'] }))).OpenIDConnectProviderArn
const analyst = (await iam.send(new CreateRoleCommand({ RoleName: 'analyst', AssumeRolePolicyDocument: trust(provider, 'sts:AssumeRoleWithSAML', { 'SAML:aud': samlURL }) }))).Role
const job = (await iam.send(new CreateRoleCommand({ RoleName: 'job', AssumeRolePolicyDocument: trust(oidc, 'sts:AssumeRoleWithWebIdentity', { [host + ':aud']: 'sts.amazonaws.com' }) }))).Role
for (const RoleName of ['analyst', 'job']) {
  await iam.send(new PutRolePolicyCommand({ RoleName, PolicyName: 'read', PolicyDocument: JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: ['s3:GetObject', 's3:ListBucket'], Resource: '*' }] }) }))
}
out.role = [analyst.Arn, analyst.RoleId.slice(0, 4), analyst.CreateDate instanceof Date]
out.roles = []
for await (const page of paginateListRoles({ client: iam, pageSize: 1 }, {})) out.roles.push(...page.Roles.map((r) => r.RoleName))

const whoami = async (credentials) => (await new STSClient({ credentials }).send(new GetCallerIdentityCommand({}))).Arn
const saml = await sts.send(new AssumeRoleWithSAMLCommand({ RoleArn: analyst.Arn, PrincipalArn: provider, SAMLAssertion: readFileSync('assertion.txt', 'utf8') }))
const keys = (c) => ({ accessKeyId: c.AccessKeyId, secretAccessKey: c.SecretAccessKey, sessionToken: c.SessionToken })
out.saml = [await whoami(keys(saml.Credentials)), saml.SubjectType, saml.Audience === samlURL]
const web = fromTokenFile({ webIdentityTokenFile: 'alice.jwt', roleArn: job.Arn, roleSessionName: 'nightly' })
out.web = await whoami(web)
out.keys = (await new S3Client({ credentials: web, forcePathStyle: true }).send(new ListObjectsV2Command({ Bucket: 'sales', Prefix: 'products/' }))).KeyCount
out.refused = [
  await refused(iam, new GetRoleCommand({ RoleName: 'nobody' })),
  await refused(iam, new CreateRoleCommand({ RoleName: 'job', AssumeRolePolicyDocument: '{}' })),
  await refused(sts, new AssumeRoleWithWebIdentityCommand({ RoleArn: job.Arn, RoleSessionName: 'nightly', WebIdentityToken: 'a.b.c'.repeat(10) })),
  await refused(sts, new AssumeRoleWithSAMLCommand({ RoleArn: job.Arn, PrincipalArn: provider, SAMLAssertion: readFileSync('assertion.txt', 'utf8') })),
]
console.log(JSON.stringify(out))
