// Package caddymodule plugs the offloader engine into Caddy.
package caddymodule
