// jose and the kernel's token code read each other's tokens, as far as the kernel's profile goes.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHmac } from "node:crypto";
import http from "node:http";
import { pathToFileURL } from "node:url";
import { createRequire } from "node:module";

// The packages lie in tests/.cache, not beside this file.
const require = createRequire(`${process.env.NODE_PATH_DIR}/`);
const { SignJWT, UnsecuredJWT, jwtVerify, decodeJwt, decodeProtectedHeader, generateKeyPair } = await import(
  pathToFileURL(require.resolve("jose")).href
);

const { JWS, MIDPLANE_SOCKET, MIDPLANE_HOST_KEY } = process.env;
const KEY = Buffer.from(Array.from({ length: 64 }, (_, n) => n));
const HEADER = { alg: "HS256", kid: "test-key", typ: "JWT" };
const NOW = Math.floor(Date.now() / 1000);
const CLAIMS = {
  iss: "midplane:test", sub: "me", aud: ["hello", "chat"], jti: "ses_test",
  iat: NOW, nbf: NOW, exp: NOW + 600, scope: "read write",
};

function jws(command, { token, stdin } = {}) {
  const more = token === undefined ? [] : ["--", token];
  const args = [command, "--key", KEY.toString("hex"), "--kid", HEADER.kid, ...more];
  return spawnSync(JWS, args, { input: stdin ?? "", encoding: "utf8", timeout: 30_000 });
}

/** The claims, or null. Refusing is exit code 1, and nothing else is. */
function oursAccepts(token) {
  const answer = jws("verify", { token });
  assert.ok(answer.status === 0 || answer.status === 1, answer.stderr);
  return answer.status === 0 ? JSON.parse(answer.stdout) : null;
}

const sign = (header, claims = CLAIMS, key = KEY) => new SignJWT(claims).setProtectedHeader(header).sign(key);

function ask(method, path, credential, json) {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${credential}`, ...(json && { "content-type": "application/json" }) };
    const request = http.request({ socketPath: MIDPLANE_SOCKET, method, path, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, text }));
    });
    request.on("error", reject).end(json && JSON.stringify(json));
  });
}

const tests = {
  async jose_accepts_ours() {
    const signed = jws("sign", { stdin: JSON.stringify(CLAIMS) });
    const token = signed.stdout.trim();
    const expected = { issuer: "midplane:test", audience: "chat", algorithms: ["HS256"], typ: "JWT" };
    const { payload, protectedHeader } = await jwtVerify(token, KEY, expected);
    assert.deepEqual(payload, CLAIMS);
    assert.deepEqual(protectedHeader, HEADER);
    await assert.rejects(jwtVerify(token, Buffer.alloc(64), expected), { code: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED" });
  },

  async ours_accepts_the_profile_of_theirs() {
    assert.deepEqual(oursAccepts(await sign(HEADER)), CLAIMS);
  },

  async ours_refuses_every_other_header() {
    const { privateKey } = await generateKeyPair("RS256");
    const { alg, kid, typ } = HEADER;
    const others = [
      await sign({ typ, kid, alg }),
      await sign({ kid, alg, typ }),
      await sign({ alg, kid }),
      await sign({ alg, typ }),
      await sign({ alg, kid: "other-key", typ }),
      await sign({ alg, kid, typ: "at+jwt" }),
      await sign({ alg, kid, typ: "jwt" }),
      await sign({ alg: "HS384", kid, typ }),
      await sign({ alg: "HS512", kid, typ }),
      await sign({ alg: "RS256", kid, typ }, CLAIMS, privateKey),
      await sign({ alg, kid, typ, jwk: { kty: "oct", k: KEY.toString("base64url") } }),
      await sign({ alg, kid, typ, b64: true, crit: ["b64"] }),
      await sign({ alg, kid, typ, cty: "JWT" }),
      new UnsecuredJWT(CLAIMS).encode(),
    ];
    for (const token of others) assert.equal(oursAccepts(token), null, token.split(".")[0]);
  },

  async ours_refuses_every_other_form() {
    const token = await sign(HEADER);
    const [header, payload, tag] = token.split(".");
    const forged = {
      padded: `${token}=`,
      "padded payload": `${header}.${payload}=.${tag}`,
      "space before": ` ${token}`,
      "space after": `${token} `,
      "line end": `${token}\n`,
      "cut tag": token.slice(0, -4),
      "no tag": `${header}.${payload}.`,
      "four parts": `${token}.`,
      "JSON serialization": JSON.stringify({ protected: header, payload, signature: tag }),
      "another hash": `${header}.${payload}.${createHmac("sha512", KEY).update(`${header}.${payload}`).digest().subarray(0, 32).toString("base64url")}`,
      "another claim": await sign(HEADER, { ...CLAIMS, admin: true }),
      "audience as text": await sign(HEADER, { ...CLAIMS, aud: "hello" }),
    };
    for (const [name, other] of Object.entries(forged)) assert.equal(oursAccepts(other), null, name);
  },

  async the_kernel_refuses_what_they_forge() {
    const issued = await ask("POST", "/sessions", MIDPLANE_HOST_KEY, { user: "me", modules: ["hello"] });
    assert.equal(issued.status, 201, issued.text);
    const good = JSON.parse(issued.text).client_secret;
    const header = decodeProtectedHeader(good);
    const claims = decodeJwt(good);
    assert.deepEqual(Object.keys(header), ["alg", "kid", "typ"]);
    const call = (token) => ask("GET", "/api/hello/hello", token);
    assert.equal((await call(good)).status, 200);
    const { privateKey } = await generateKeyPair("RS256");
    const forged = {
      "a key of their own": await sign(header, claims),
      "the host key as key": await sign(header, claims, Buffer.from(MIDPLANE_HOST_KEY)),
      "RS256": await sign({ ...header, alg: "RS256" }, claims, privateKey),
      "their key in the header": await sign({ ...header, jwk: { kty: "oct", k: KEY.toString("base64url") } }, claims),
      "alg none": new UnsecuredJWT(claims).encode(),
      "alg none with a tag": `${new UnsecuredJWT(claims).encode()}${good.split(".")[2]}`,
      "the right tag on other claims": [good.split(".")[0], (await sign(header, { ...claims, sub: "root" })).split(".")[1], good.split(".")[2]].join("."),
    };
    const told = new Set();
    for (const [name, token] of Object.entries(forged)) {
      const answer = await call(token);
      assert.equal(answer.status, 401, `${name}: ${answer.text}`);
      const { instance, ...problem } = JSON.parse(answer.text);
      told.add(JSON.stringify(problem));
    }
    assert.equal(told.size, 1, [...told].join("\n"));
    assert.equal((await call(good)).status, 200);
  },
};

let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
    console.log(`ok jose: ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED jose: ${name}`);
    console.error(error);
  }
}
console.log(`${Object.keys(tests).length - failed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
