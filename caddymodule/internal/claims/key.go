package claims

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
	"net/netip"
	"strings"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// maxKey is the longest key, in bytes, that is kept as it is. Longer ones, which clients
// may send, are hashed.
const maxKey = 128

// keyOf returns the key for a text. An empty text counts as the client's address, since a
// request without a key has no bound. An IPv6 address counts as its network.
func keyOf(text string, client offloader.Client) string {
	if text == "" {
		return addressText(client.Address)
	}
	if a, ok := requests.AddressOf(text); ok {
		return addressText(a)
	}
	if len(text) > maxKey {
		sum := sha256.Sum256([]byte(text))
		return hex.EncodeToString(sum[:])
	}
	return strings.Clone(text)
}

// addressText returns an address, or the network of an IPv6 address, as text. It is empty
// for an unknown address.
func addressText(a [16]byte) string {
	addr := netip.AddrFrom16(a)
	switch {
	case a == [16]byte{}:
		return ""
	case addr.Is4In6():
		return addr.Unmap().String()
	}
	return netip.PrefixFrom(addr, requests.NetworkBits).String()
}

// The seeds are secret: a client must not choose a text that counts as another client.
var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

// Address returns a key in the form of an address, which turns and spools need: the address
// itself if the key is one, otherwise a hash.
func Address(key string) [16]byte {
	host, _, network := strings.Cut(key, "/")
	if a, ok := requests.AddressOf(host); ok && (!network || addressText(a) == key) {
		return a
	}
	var hash [16]byte
	for i, seed := range seeds {
		binary.NativeEndian.PutUint64(hash[8*i:], maphash.String(seed, key))
	}
	return hash
}
