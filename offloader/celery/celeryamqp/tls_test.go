package celeryamqp_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest/amqptest"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/celery/celeryamqp"
)

// encrypt listens with TLS, passes on to a server in the clear, and returns a
// configuration with which clients trust it.
func encrypt(t *testing.T, to string) (addr string, trust *tls.Config) {
	t.Helper()
	certified := httptest.NewTLSServer(nil) // has a certificate for the loopback
	certified.Close()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certified.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	t.Cleanup(func() {
		ln.Close()
		done.Wait()
	})
	done.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			done.Go(func() { pass(conn, to) })
		}
	})
	roots := x509.NewCertPool()
	roots.AddCert(certified.Certificate())
	return ln.Addr().String(), &tls.Config{RootCAs: roots}
}

// pass copies both ways until one of them ends.
func pass(conn net.Conn, to string) {
	defer conn.Close()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(conn, server) // it ends with either side
		conn.Close()
	})
	_, _ = io.Copy(server, conn)
	server.Close()
	back.Wait()
}

// The client connects only to servers with a trusted certificate.
func TestTLS(t *testing.T) {
	t.Parallel()
	server := amqptest.NewServer(t)
	addr, trust := encrypt(t, server.Addr())
	url := "amqps://guest:guest@" + addr + "//"
	broker := openBroker(t, celeryamqp.BrokerSettings{Server: celeryamqp.Server{URL: url, TLS: trust}})
	backend := openBackend(t, celeryamqp.BackendSettings{Server: celeryamqp.Server{URL: url, TLS: trust}})
	system := amqptest.NewSystem(t, amqptest.Options{URL: server.URL(), Broker: broker, Backend: backend})
	call, err := celery.NewClient(broker, backend, celery.Settings{}).Start(t.Context(), celery.Task{Name: "lab.echo"})
	if err != nil {
		t.Fatal(err)
	}
	defer call.Close()
	m, err := system.Take(t.Context(), celery.DefaultQueue)
	if err != nil {
		t.Fatal(err)
	}
	if err := system.Report(t.Context(), m, celerytest.Succeed(m, "1")); err != nil {
		t.Fatal(err)
	}
	if result, err := call.Wait(t.Context(), nil); err != nil || string(result.Value) != "1" {
		t.Errorf("%s %v", result.Value, err)
	}
	strict := openBroker(t, celeryamqp.BrokerSettings{Server: celeryamqp.Server{URL: url}})
	_, err = celery.NewClient(strict, nil, celery.Settings{}).Send(t.Context(), celery.Task{Name: "lab.echo"})
	if !errors.Is(err, celery.ErrUnavailable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server without a trusted certificate: %v", err)
	}
}
