// The AWS SDK for JavaScript v3: lib-storage for uploads in parts, and
// s3-request-presigner. Prints one line of JSON for each operation.
import { createReadStream, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { PassThrough } from 'node:stream'
import { CopyObjectCommand, GetObjectCommand, PutObjectCommand, S3Client, paginateListObjectsV2 } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'

const { CLIENT_ENDPOINT, CLIENT_BUCKET: Bucket, CLIENT_PREFIX: prefix, CLIENT_FILES: files, CLIENT_OUT: out, CLIENT_SOURCE: source, CLIENT_MANY: many } = process.env
const s3 = new S3Client({ endpoint: CLIENT_ENDPOINT, forcePathStyle: true })

const content = name => readFileSync(join(files, name))
const keep = (name, data) => {
  mkdirSync(dirname(join(out, name)), { recursive: true })
  writeFileSync(join(out, name), data)
}
const keepList = (keys, name = 'list') => keep(name, keys.map(k => k + '\n').join(''))
const get = async key => (await s3.send(new GetObjectCommand({ Bucket, Key: key }))).Body.transformToByteArray()
const keys = async Prefix => {
  const found = []
  for await (const page of paginateListObjectsV2({ client: s3 }, { Bucket, Prefix })) found.push(...(page.Contents ?? []).map(o => o.Key))
  return found
}
const said = e => `${e.name}: ${e.message}`

const operations = {
  async put () {
    await s3.send(new PutObjectCommand({ Bucket, Key: prefix + 'put.csv', Body: content('small.csv') }))
    keep('put.csv', await get(prefix + 'put.csv'))
  },
  async stream () {
    const body = createReadStream(join(files, 'small.csv')).pipe(new PassThrough()) // without a path, so nothing can be read twice
    await s3.send(new PutObjectCommand({ Bucket, Key: prefix + 'stream.csv', Body: body, ContentLength: content('small.csv').length }))
    keep('stream.csv', await get(prefix + 'stream.csv'))
  },
  async multipart () {
    const body = createReadStream(join(files, 'big.csv')).pipe(new PassThrough())
    await new Upload({ client: s3, params: { Bucket, Key: prefix + 'multipart.csv', Body: body }, partSize: 5 << 20 }).done()
    keep('multipart.csv', await get(prefix + 'multipart.csv'))
  },
  async copy () {
    const encoded = source.split('/').map(encodeURIComponent).join('/')
    await s3.send(new CopyObjectCommand({ Bucket, Key: prefix + 'copy.csv', CopySource: `${Bucket}/${encoded}` }))
    keep('copy.csv', await get(prefix + 'copy.csv'))
  },
  async presign () {
    return { url: await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: source }), { expiresIn: 300 }) }
  },
  async list () {
    keepList(await keys(many))
  },
  async odd () {
    const errors = {}
    for (const name of JSON.parse(content('odd.json'))) {
      try {
        await s3.send(new PutObjectCommand({ Bucket, Key: prefix + 'odd/' + name, Body: content('odd/' + name) }))
        keep('odd/' + name, await get(prefix + 'odd/' + name))
      } catch (e) {
        errors[name] = said(e)
      }
    }
    keepList(await keys(prefix + 'odd/'), 'odd.list')
    return { errors }
  }
}

const installed = new URL('node_modules/@aws-sdk/client-s3/package.json', import.meta.url)
console.log(JSON.stringify({ op: 'version', version: JSON.parse(readFileSync(installed)).version }))
for (const op of process.argv.slice(2)) {
  let line = { op }
  try {
    line = { ...line, ...await operations[op]() }
  } catch (e) {
    console.error(e)
    line.error = said(e)
  }
  console.log(JSON.stringify(line))
}
