package site

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Main runs the tests of a package and removes their common files. In a process
// that Start has started it runs Caddy.
//
//	func TestMain(m *testing.M) { site.Main(m) }
func Main(m *testing.M) {
	runProcess()
	code := m.Run()
	if madeCertificate {
		cert, _ := certificate()
		_ = os.RemoveAll(filepath.Dir(cert))
	}
	os.Exit(code)
}

var madeCertificate bool

// certificate is a certificate for 127.0.0.1, in files, made once for all tests.
var certificate = sync.OnceValues(func() (certFile, keyFile string) {
	madeCertificate = true
	dir, err := os.MkdirTemp("", "offload-test")
	if err != nil {
		panic(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert},
		keyFile:  {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			panic(err)
		}
	}
	return certFile, keyFile
})
