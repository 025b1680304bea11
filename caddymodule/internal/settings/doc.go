// Package settings has one table of the settings of a pool. All code that names, reads,
// writes or describes a setting uses this table: the block of a pool in a Caddyfile, the
// configuration in JSON, overrides by the admin endpoint, the log, the commands, the flags
// of the sidecar, and the tests of the documentation.
//
// To add a setting, add a field to offloader.Settings and, if operators can override it,
// to offloader.Override; a field with its comment to caddymodule.PoolConfig; and a row to
// the table in pool.go, or in breaker.go for a breaker. Tests fail until the documentation has the setting too.
package settings
