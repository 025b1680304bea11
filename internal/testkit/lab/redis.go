//go:build unix

package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-offload/caddy-offload/internal/services"
)

// Redis is a server for one test.
type Redis struct {
	*server
	// Addr is where it listens.
	Addr string
}

// StartRedis starts a server that ends with the test. Arguments are as on its
// command line; by default it writes no files.
func StartRedis(t Owner, args ...string) *Redis {
	t.Helper()
	addr := address(t)
	ctx, cancel := starting()
	defer cancel()
	redis, err := services.Redis(ctx, addr, folder(t, "redis"), args...)
	return &Redis{started(t, redis, err), addr}
}

// StartValkey starts a Valkey server.
func StartValkey(t Owner, args ...string) *Redis {
	t.Helper()
	addr := address(t)
	ctx, cancel := starting()
	defer cancel()
	valkey, err := services.RedisLike(ctx, installed(t, "valkey-"+valkeyVersion, "valkey-server"), addr, folder(t, "valkey"), args...)
	return &Redis{started(t, valkey, err), addr}
}

// valkeyVersion is the installed version.
const valkeyVersion = "9.1.2"

// URL of a database of the server.
func (r *Redis) URL(db int) string { return fmt.Sprintf("redis://%s/%d", r.Addr, db) }

// Client returns a client of a database, which is closed with the test.
func (r *Redis) Client(t testing.TB, db int) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: r.Addr, DB: db, DisableIdentity: true})
	t.Cleanup(func() { client.Close() })
	return client
}

// Sentinel monitors a master and its replicas.
type Sentinel struct {
	*server
	// Addr is where it listens.
	Addr   string
	master string
}

// StartSentinel starts a sentinel that promotes another master within
// seconds.
func StartSentinel(t Owner, name string, master *Redis) *Sentinel {
	t.Helper()
	port, data := Port(t), folder(t, "sentinel")
	host, masterPort, err := net.SplitHostPort(master.Addr)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(data, "sentinel.conf")
	text := fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\nsentinel monitor %s %s %s 1\n"+
		"sentinel down-after-milliseconds %[3]s 1000\nsentinel failover-timeout %[3]s 5000\n", port, data, name, host, masterPort)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := starting()
	defer cancel()
	addr := net.JoinHostPort(services.Loopback, port)
	sentinel, err := services.StartServer(ctx, services.Program{
		Name: "Sentinel", Args: []string{"redis-server", config, "--sentinel"},
		Log: filepath.Join(data, "log"), Package: "redis-server",
	}, services.Listening(addr))
	return &Sentinel{started(t, sentinel, err), addr, name}
}

// Master returns the address of the master.
func (s *Sentinel) Master() string {
	client := redis.NewSentinelClient(&redis.Options{Addr: s.Addr})
	defer client.Close()
	addr, err := client.GetMasterAddrByName(context.Background(), s.master).Result()
	if err != nil {
		return ""
	}
	return net.JoinHostPort(addr[0], addr[1])
}

// Replicas returns the number of known replicas.
func (s *Sentinel) Replicas() int {
	client := redis.NewSentinelClient(&redis.Options{Addr: s.Addr})
	defer client.Close()
	all, err := client.Replicas(context.Background(), s.master).Result()
	if err != nil {
		return 0
	}
	return len(all)
}
