package jobs

import "slices"

// RouteOptions returns the options of a route.
func RouteOptions() []string { return slices.Concat(acceptOptions, runOptions) }

// AppOptions returns the options of the global block, with those of the blocks in it.
func AppOptions() []string { return slices.Concat(appOptions, tenantOptions, encryptionOptions) }
