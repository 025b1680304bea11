// Command housemap measures how the sources of a folder hang together, so that a change of
// its structure shows in numbers:
//
//	go run ./internal/tools/housemap [-setting NAME] [-way FUNCTION -profile FILE] [FOLDER]
//
// FOLDER is a folder of this module, by default caddymodule, without what lies in its
// subfolders that have tests or plugins of their own. It prints the packages with their
// files and arrows, the type with the most methods, and with -setting the files that write
// a setting. With -way it lists the functions on the way of a call, such as
// Handler.ServeHTTP, in the order of their first calls; a coverage profile of one request
// limits the way to what that request has run:
//
//	go test ./caddymodule -run '^TestOnePost$' -coverpkg=./caddymodule/... -coverprofile=post.out
//	go run ./internal/tools/housemap -way Handler.ServeHTTP -profile post.out
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	setting := flag.String("setting", "", "list the files that write this setting of a pool")
	way := flag.String("way", "", "list the functions on the way of this one, as in Handler.ServeHTTP")
	profile := flag.String("profile", "", "coverage profile of one request, which limits the way")
	steps := flag.Bool("steps", false, "list the steps of the way")
	flag.Parse()
	folder := "caddymodule"
	if flag.NArg() > 0 {
		folder = flag.Arg(0)
	}
	if err := run(folder, options{*setting, *way, *profile, *steps}); err != nil {
		fmt.Fprintln(os.Stderr, "housemap:", err)
		os.Exit(1)
	}
}

// options are what is to be printed besides the map.
type options struct {
	setting, way, profile string
	steps                 bool
}

func run(folder string, o options) error {
	h, err := load(folder)
	if err != nil {
		return err
	}
	h.printPackages(os.Stdout)
	h.printLargestType(os.Stdout)
	if o.setting != "" {
		if err := h.printSetting(os.Stdout, o.setting); err != nil {
			return err
		}
	}
	if o.way == "" {
		return nil
	}
	ran, err := readProfile(o.profile)
	if err != nil {
		return err
	}
	return h.printWay(os.Stdout, o.way, ran, o.steps)
}
