// Package services runs servers of others for demos and tests: on free ports of
// the loopback interface, with their data in a folder that is given to them, and
// without looking at what the machine has configured for its own. They end when
// they are stopped, and on Linux also when this process dies.
package services
