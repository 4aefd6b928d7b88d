// Command program is compiled with debug information for a test.
package main

import "os"

func add(a, b int) int { return a + b + len(os.Args) }

//go:noinline
func outer(a int) int {
	return add(a, 1)
}

func main() { os.Exit(outer(1)) }
