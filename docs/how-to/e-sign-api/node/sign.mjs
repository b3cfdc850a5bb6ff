// Sign a PDF with the signing service: @signpdf prepares and embeds, pkijs checks the answer.
//
//     HASHSEAL_TOKEN=… node sign.mjs SERVICE_URL SEAL_ID input.pdf output.pdf
//
// Takes files with a cross-reference table (@signpdf/placeholder-plain reads no others).
import { createHash, randomUUID, webcrypto } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { plainAddPlaceholder } from '@signpdf/placeholder-plain';
import { SignPdf } from '@signpdf/signpdf';
import { Signer, SUBFILTER_ETSI_CADES_DETACHED } from '@signpdf/utils';
import * as pkijs from 'pkijs';

pkijs.setEngine('node', new pkijs.CryptoEngine({ name: 'node', crypto: webcrypto }));

class Service {
  constructor(url, token) {
    this.url = url.replace(/\/$/, '');
    this.token = token;
  }

  // GET without a body, POST with one. What may succeed later is sent again with the same key: the
  // service charges a key once, and answers it with the same octets.
  async call(path, body) {
    const headers = { authorization: `Bearer ${this.token}` };
    const request = { headers, method: body ? 'POST' : 'GET', redirect: 'error' };
    if (body) {
      headers['content-type'] = 'application/json';
      headers['idempotency-key'] = randomUUID();
      request.body = JSON.stringify(body);
    }
    for (let attempt = 1; ; attempt += 1) {
      let answer;
      try {
        answer = await fetch(this.url + path, { ...request, signal: AbortSignal.timeout(60_000) });
        if (answer.ok) return await answer.json();
      } catch (error) {
        if (attempt === 5) throw error;
        await wait(1000 * 2 ** attempt);
        continue;
      }
      const problem = await answer.json();
      if (!problem.retryable || attempt === 5) {
        throw new Error(`${problem.code}: ${problem.detail}. ${problem.action}`);
      }
      await wait(1000 * Number(answer.headers.get('retry-after') ?? 2 ** attempt));
    }
  }
}

// @signpdf calls `sign` with the octets of the ByteRange, and writes what it returns into /Contents.
class RemoteSigner extends Signer {
  constructor(service, seal) {
    super();
    this.service = service;
    this.seal = seal;
  }

  async sign(signed) {
    const hash = createHash('sha256').update(signed).digest('base64');
    const answer = await this.service.call('/v1/documents/sign', {
      seal_id: this.seal,
      hash_algorithm: 'SHA-256',
      level: 'B-LT',
      hashes: [hash],
    });
    const signature = Buffer.from(answer.signatures[0].signature, 'base64');
    await check(signature, signed);
    this.validation = answer.validation;
    return signature;
  }
}

// Refuse an answer that is not a signature over these very octets; the chain is not checked here.
async function check(signature, signed) {
  const content = pkijs.ContentInfo.fromBER(signature);
  const cms = new pkijs.SignedData({ schema: content.content });
  const valid = await cms.verify({ signer: 0, data: new Uint8Array(signed).buffer });
  if (!valid) throw new Error('the answer is not a signature over the hash that was sent');
}

// Append /DSS (EN 319 142-1, 5.4.2) as an incremental update: one stream for each piece of DER.
function withValidation(pdf, validation) {
  const text = pdf.toString('latin1');
  const before = Number(text.slice(text.lastIndexOf('startxref') + 9).match(/\d+/)[0]);
  const trailer = text.slice(text.lastIndexOf('trailer'));
  const root = Number(trailer.match(/\/Root\s+(\d+)\s+0\s+R/)[1]);
  let next = Number(trailer.match(/\/Size\s+(\d+)/)[1]);
  const kept = [/\/Info\s+\d+\s+0\s+R/, /\/ID\s*\[[^\]]*\]/].map((one) => trailer.match(one)?.[0] ?? '');
  const catalogs = [...text.matchAll(new RegExp(`(?<!\\d)${root} 0 obj([\\s\\S]*?)endobj`, 'g'))];
  const catalog = catalogs.at(-1)[1].trimEnd().replace(/>>$/, '');

  const parts = [pdf, Buffer.from('\n')];
  let offset = pdf.length + 1;
  const entries = [];
  const add = (number, ...content) => {
    const object = [`${number} 0 obj\n`, ...content, '\nendobj\n'].map((one) => Buffer.from(one, 'latin1'));
    entries.push(`${number} 1\n${String(offset).padStart(10, '0')} 00000 n \n`);
    for (const one of object) {
      parts.push(one);
      offset += one.length;
    }
  };
  const stores = { Certs: 'certificates', OCSPs: 'ocsp_responses', CRLs: 'crls' };
  let dss = '';
  for (const [store, kind] of Object.entries(stores)) {
    const references = validation[kind].map((encoded) => {
      const der = Buffer.from(encoded, 'base64');
      add(next, `<< /Length ${der.length} >>\nstream\n`, der, '\nendstream');
      next += 1;
      return `${next - 1} 0 R`;
    });
    if (references.length) dss += ` /${store} [ ${references.join(' ')} ]`;
  }
  add(root, `${catalog} /DSS <<${dss} >> >>`);
  parts.push(Buffer.from(
    `xref\n${entries.join('')}trailer\n<< /Size ${next} /Root ${root} 0 R /Prev ${before} `
    + `${kept.join(' ')} >>\nstartxref\n${offset}\n%%EOF\n`,
    'latin1',
  ));
  return Buffer.concat(parts);
}

const [url, seal, input, output] = process.argv.slice(2);
const service = new Service(url, process.env.HASHSEAL_TOKEN);
// Ask how much room the signature needs, so that it fits.
const { signature_size: signatureLength } = await service.call(`/v1/seals/${seal}`);
const prepared = plainAddPlaceholder({
  pdfBuffer: await readFile(input),
  reason: 'Signed by hash only',
  contactInfo: '',
  name: '',
  location: '',
  signatureLength,
  subFilter: SUBFILTER_ETSI_CADES_DETACHED,
});
const signer = new RemoteSigner(service, seal);
const signed = await new SignPdf().sign(prepared, signer);
await writeFile(output, withValidation(signed, signer.validation));
console.log(`signed: ${output}`);
