package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// leaveOut leaves out what the page never asks of the client, which would load it when it is first used.
var leaveOut = api.Plugin{Name: "leave out", Setup: func(b api.PluginBuild) {
	unused := api.OnLoadOptions{Filter: `/clients/js/src/(mine|batch)\.ts$`}
	b.OnLoad(unused, func(api.OnLoadArgs) (api.OnLoadResult, error) {
		nothing := "export {}"
		return api.OnLoadResult{Contents: &nothing}, nil
	})
}}

// dynamicImport is an import that the client makes when it first needs a part.
var dynamicImport = regexp.MustCompile(`\bimport\(("\./[^"]+")\)`)

// oneScript puts all of the client into the page's one script, also what a program would load late: compressed together
// the parts are a tenth smaller than in files of their own, and the page needs most of them at once. esbuild itself
// does this without splitting, but keeps each part in a function that is run late, which costs more.
var oneScript = api.Plugin{Name: "one script", Setup: func(b api.PluginBuild) {
	late := api.OnLoadOptions{Filter: `/clients/js/src/(client|index|rest|websocket)\.ts$`}
	b.OnLoad(late, func(a api.OnLoadArgs) (api.OnLoadResult, error) {
		text, err := os.ReadFile(a.Path)
		if err != nil {
			return api.OnLoadResult{}, err
		}
		whole := withoutDynamicImports(string(text))
		return api.OnLoadResult{Contents: &whole, Loader: api.LoaderTS}, nil
	})
}}

// withoutDynamicImports returns a module that has imported at its start what it would import later.
func withoutDynamicImports(text string) string {
	var imports strings.Builder
	n := 0
	text = dynamicImport.ReplaceAllStringFunc(text, func(call string) string {
		n++
		name := fmt.Sprintf("late%d", n)
		fmt.Fprintf(&imports, "import * as %s from %s;\n", name, dynamicImport.FindStringSubmatch(call)[1])
		return "Promise.resolve(" + name + ")"
	})
	return imports.String() + text
}

// loadedLate has an import that is made late name a script of the page, in the same folder.
func loadedLate(source, name string) api.Plugin {
	return api.Plugin{Name: "loaded late", Setup: func(b api.PluginBuild) {
		b.OnResolve(api.OnResolveOptions{Filter: "^" + regexp.QuoteMeta(source) + "$"},
			func(a api.OnResolveArgs) (api.OnResolveResult, error) {
				if a.Kind != api.ResolveJSDynamicImport {
					return api.OnResolveResult{}, fmt.Errorf("%s is to be imported late", source)
				}
				return api.OnResolveResult{Path: "./" + name, External: true}, nil
			})
	}}
}
