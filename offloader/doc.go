// Package offloader is the engine.
package offloader
