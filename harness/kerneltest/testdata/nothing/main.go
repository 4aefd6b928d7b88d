// Command nothing is an /init that ends its machine.
package main

import "syscall"

func main() { syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART) }
