// Package target starts the measured servers: Caddy in several configurations,
// HAProxy and NGINX, each in front of the same upstream, on a free loopback
// port, with a generated configuration in a separate folder.
//
// All targets get the same task from a Plan: requests below SlowPath are
// blocking and limited, all others are not. How well a target can express that
// is part of the comparison.
package target

import (
	"fmt"
	"net"
	"path/filepath"
	"time"
)

// The routes of every target.
const (
	SlowPath = "/slow" // limited
	FastPath = "/fast" // not limited
)

// Name is the name of a target.
type Name string

// The targets.
const (
	Direct          Name = "direct"           // no proxy: the upstream itself
	Caddy           Name = "caddy"            // reverse_proxy, no limit
	CaddyAgain      Name = "caddy-again"      // the same again: its ratio to caddy is the noise
	CaddyMaxConns   Name = "caddy-mcph"       // reverse_proxy with max_conns_per_host on the slow route
	CaddyBuffers    Name = "caddy-buf"        // the same with request and response buffers of 4 MiB
	HAProxy         Name = "haproxy"          // server maxconn, timeout queue, bounded queue
	HAProxyBig      Name = "haproxy-bigbuf"   // the same with buffers of 1.25 MiB
	NGINX           Name = "nginx"            // limit_conn
	NGINXMaxConns   Name = "nginx-maxconns"   // max_conns, which counts without slow clients
	Offload         Name = "offload"          // offload on the slow route
	OffloadNoSpool  Name = "offload-nospool"  // the same with both spools off
	OffloadUnmarked Name = "offload-unmarked" // the same, loaded on the fast route
	OffloadBefore   Name = "offload-before"   // offload on the slow route, by Programs.Before
	CaddyUsual      Name = "caddy-usual"      // reverse_proxy with an access log and compression, as people run it
	OffloadUsual    Name = "offload-usual"    // offload on the slow route of the same
	CaddyBlock      Name = "caddy-block"      // a handler that blocks in place of the slow route, by Programs.Blocking
	CaddyPlain      Name = "caddy-plain"      // reverse_proxy, by Programs.Plain
	OffloadNoCelery Name = "offload-nocelery" // offload on the slow route, by Programs.NoCelery
)

// Path returns the path for the load on the slow route of this target.
func (n Name) Path() string {
	if n == OffloadUnmarked {
		return FastPath
	}
	return SlowPath
}

// Pair returns the target without offload that is otherwise configured as n: the
// ratios of n compare with it.
func (n Name) Pair() Name {
	if n == CaddyUsual || n == OffloadUsual {
		return CaddyUsual
	}
	return Caddy
}

// Header returns the header lines of the requests to n. For targets with compression the
// client accepts compressed answers, so that their compression checks each answer; it
// compresses none of them, by their type.
func (n Name) Header() string {
	if n.Pair() == CaddyUsual {
		return "Accept-Encoding: gzip, zstd\r\n"
	}
	return ""
}

// Plan is the task of all targets.
type Plan struct {
	Slow    string        // address of the upstream behind the slow route
	Fast    string        // address of the upstream behind all other routes
	Limit   int           // requests inside the slow route's upstream; 0: no limit
	Queue   int           // places to wait
	MaxWait time.Duration // longest wait
	Uploads bool          // clients send bodies slowly: read a body before its request takes a place, if possible
	Core    int           // pin the target to this core, with one thread; negative: not pinned

	Servers []Server      // upstreams that share all routes, in place of Slow, Fast and Limit
	Health  string        // path of their health checks; empty: none
	Hold    time.Duration // for which the breaker of offload holds requests; 0: it has no breaker
}

// Server is one of several upstreams behind a target.
type Server struct {
	Addr  string
	Limit int // requests inside
}

// kit has the paths of the programs and of one target's files.
type kit struct {
	programs Programs
	dir      string // folder of this target alone
	addr     string // to listen on
}

// file returns the path of a file of this target.
func (k kit) file(name string) string { return filepath.Join(k.dir, name) }

// Programs are the paths of the servers' programs.
type Programs struct {
	Caddy, HAProxy, NGINX, Taskset string

	Before   string // an earlier build of Caddy, empty without
	Plain    string // Caddy with its standard modules alone
	NoCelery string // the same with offload, without Celery
	Blocking string // the same as Plain, with a handler that blocks
}

// recipe describes the start of a target: the files that it reads and its
// command.
type recipe struct {
	files   map[string]string // by name, in the target's folder
	command []string
	env     []string
}

// recipeOf returns the recipe of a target that needs a process.
func recipeOf(name Name, plan Plan, k kit) (recipe, error) {
	switch name {
	case Caddy, CaddyAgain, CaddyMaxConns, CaddyBuffers, Offload, OffloadNoSpool, OffloadUnmarked, OffloadBefore,
		CaddyUsual, OffloadUsual, CaddyBlock, CaddyPlain, OffloadNoCelery:
		return caddyRecipe(name, plan, k), nil
	case HAProxy, HAProxyBig:
		return haproxyRecipe(name, plan, k), nil
	case NGINX, NGINXMaxConns:
		return nginxRecipe(name, plan, k), nil
	default:
		return recipe{}, fmt.Errorf("unknown target %q", name)
	}
}

// freeAddr returns a loopback address that is free now.
func freeAddr() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	addr := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	return addr, nil
}
