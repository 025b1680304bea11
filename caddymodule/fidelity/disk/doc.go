// Package disk tests bodies that are larger than memory, and disks that fail.
package disk
