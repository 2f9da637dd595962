---@meta crypto

--- Hashes, and what is made of keys.
local crypto = {}

---@alias crypto.Hash "md5"|"sha1"|"sha256"|"sha384"|"sha512"
---@alias crypto.Encoding "raw"|"hex"|"base64"|"base64url"

---@param algorithm crypto.Hash
---@param s string
---@param encoding? crypto.Encoding
---@return string
function crypto.hash(algorithm, s, encoding) end

---@param algorithm crypto.Hash
---@param key string
---@param s string
---@param encoding? crypto.Encoding
---@return string
function crypto.hmac(algorithm, key, s, encoding) end

--- Bytes fit for keys.
---@param n integer
---@return string
function crypto.random(n) end

--- A random one.
---@return string
function crypto.uuid4() end

--- One that begins with the time.
---@return string
function crypto.uuid7() end

--- Are they the same? In a time that does not tell where they differ.
---@param a string
---@param b string
---@return boolean
function crypto.equal(a, b) end

--- A key from a password; others run meanwhile.
---@async
---@param algorithm crypto.Hash
---@param password string
---@param salt string
---@param iterations integer
---@param length integer bytes
---@param encoding? crypto.Encoding
---@return string
function crypto.pbkdf2(algorithm, password, salt, iterations, length, encoding) end

--- Encryption that also tells whether it was changed.
crypto.aead = {}

--- With a fresh nonce, which the result begins with.
---@param algorithm "aes-128-gcm"|"aes-256-gcm"|"chacha20-poly1305"
---@param key string
---@param s string
---@param extra? string what is not encrypted, but must be the same when it is opened
---@return string
function crypto.aead.seal(algorithm, key, s, extra) end

---@param algorithm "aes-128-gcm"|"aes-256-gcm"|"chacha20-poly1305"
---@param key string
---@param sealed string
---@param extra? string
---@return string|nil s
---@return string|nil err
function crypto.aead.open(algorithm, key, sealed, extra) end

--- Signatures.
crypto.ed25519 = {}

--- 32 bytes each.
---@return string private
---@return string public
function crypto.ed25519.keygen() end

---@param private string
---@param s string
---@return string signature
function crypto.ed25519.sign(private, s) end

---@param public string
---@param s string
---@param signature string
---@return boolean
function crypto.ed25519.verify(public, s, signature) end

--- Tokens (RFC 7519).
crypto.jwt = {}

---@param claims table
---@param key string
---@param algorithm? "HS256"|"EdDSA"
---@return string token
function crypto.jwt.sign(claims, key, algorithm) end

--- What it says, if it is signed so and holds now (`exp`, `nbf`).
---@param token string
---@param key string
---@param algorithm? "HS256"|"EdDSA"
---@return table|nil claims
---@return string|nil err
function crypto.jwt.verify(token, key, algorithm) end

return crypto
