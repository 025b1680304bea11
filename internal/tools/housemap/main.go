// Command housemap measures how the sources of a folder depend on each other, so that a
// change of the structure is visible in numbers:
//
//	go run ./internal/tools/housemap [-circles FOLDER] [-setting NAME] [-way FUNCTION -profile FILE] [FOLDER]
//
// FOLDER is a folder of this module, by default caddymodule, without subfolders that
// contain only tests or a plugin. The command prints the packages with their files and
// arrows (uses of another file), the type with the most methods, with -circles the arrows
// between the files of one package that are part of a circle, and with -setting the files
// that contain a setting. With -way it lists the functions that a call such as
// Handler.ServeHTTP runs, in the order of their first calls. A coverage profile of one
// request limits the list to the code that the request has run:
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
	circles := flag.String("circles", "", "list the arrows of this folder that are part of a circle")
	steps := flag.Bool("steps", false, "list the steps of the way")
	flag.Parse()
	folder := "caddymodule"
	if flag.NArg() > 0 {
		folder = flag.Arg(0)
	}
	if err := run(folder, options{*setting, *way, *profile, *circles, *steps}); err != nil {
		fmt.Fprintln(os.Stderr, "housemap:", err)
		os.Exit(1)
	}
}

// options select the output in addition to the map.
type options struct {
	setting, way, profile, circles string
	steps                          bool
}

func run(folder string, o options) error {
	h, err := load(folder)
	if err != nil {
		return err
	}
	h.printPackages(os.Stdout)
	h.printLargestType(os.Stdout)
	if o.circles != "" {
		h.printCircles(os.Stdout, o.circles)
	}
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
