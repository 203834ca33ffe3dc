// The AWS SDK for JavaScript v3, with nothing but its environment: who it is,
// what it lists and reads, and how it is refused. Prints one JSON object.
import { readFileSync } from 'node:fs'
import { S3Client, GetObjectCommand, paginateListObjectsV2 } from '@aws-sdk/client-s3'
import { STSClient, GetCallerIdentityCommand } from '@aws-sdk/client-sts'

const s3 = new S3Client({ forcePathStyle: true }) // hosts like sales.localhost are not found everywhere
let keys = 0
for await (const page of paginateListObjectsV2({ client: s3 }, { Bucket: 'sales', Prefix: 'orders/' })) keys += page.Contents?.length ?? 0
const object = await s3.send(new GetObjectCommand({ Bucket: 'sales', Key: 'products/products.csv' }))
let refused = 'allowed'
try {
  await s3.send(new GetObjectCommand({ Bucket: 'hr', Key: 'salaries/2025.csv' }))
} catch (e) {
  refused = e.name
}
console.log(JSON.stringify({
  version: JSON.parse(readFileSync(new URL('node_modules/@aws-sdk/client-s3/package.json', import.meta.url))).version,
  arn: (await new STSClient().send(new GetCallerIdentityCommand({}))).Arn,
  keys,
  bytes: (await object.Body.transformToByteArray()).length,
  refused
}))
