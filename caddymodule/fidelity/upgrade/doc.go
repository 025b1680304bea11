// Package upgrade tests connections that leave HTTP, such as WebSockets.
package upgrade
