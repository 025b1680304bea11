// Package services runs other servers for demos and tests, such as Redis: on free ports of
// the loopback interface, with their data in a given folder, and without the machine's
// configuration of these servers. The servers end when they are stopped, and on Linux also
// when this process dies.
package services
