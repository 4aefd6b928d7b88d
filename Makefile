# make run   install what is missing, build kplay, test a distribution's kernel
# make test  all tests, those that boot kernels too
# make lint  golangci-lint
# make bench speed, as ratios measured side by side
# make mutants how many planted slips the overlayfs suite finds; SAMPLE=8 for
#              few, ONLY='dir.c/*' for some; one that is stopped goes on
#
# Needed beforehand: Go and make, and root or sudo to install packages.

GO      ?= go
SUDO    := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
export CGO_ENABLED = 0

.PHONY: run test race lint bench mutants build deps clean

run: build
	bin/kplay run $$(command -v apt-get >/dev/null && echo --feature kdbus)

# A single static binary: it is also the guest's /init.
build: deps
	$(GO) build -o bin/kplay ./cmd/kplay

# kdbus is tested by the playground's own module, where there are headers for it.
test: build
	module=$$(bin/kplay module build kdbus) || echo "kdbus is not tested: its module was not built" >&2; \
	KPLAY_REQUIRE=1 KPLAY_MODULE=$${module:+kdbus=$$module} $(GO) test -timeout 40m -p 1 ./...

lint:
	$(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run ./...

bench: build
	KPLAY_REQUIRE=1 $(GO) test -run '^$$' -bench . -benchtime 6x -timeout 60m -p 1 ./cmd/kplay ./harness

# Debian 12 only: its sources, its compiler. Delete bin/mutants.txt to begin anew.
SAMPLE ?= 0
SEED   ?= 1
ONLY   ?= *
mutants: deps
	$(GO) build -o bin/mutants ./cmd/mutants
	bin/mutants -results bin/mutants.txt -only '$(ONLY)' -sample $(SAMPLE) -seed $(SEED)

# Debian and Ubuntu, or Fedora. dpkg-deb comes with the former; rpm and createrepo
# are not needed yet. On Debian 12 the tests build kernel modules, with the
# compiler the kernel was built with; headers and sources they fetch themselves.
deps:
	@if command -v qemu-system-x86_64 >/dev/null || [ -x /usr/libexec/qemu-kvm ]; then :; \
	elif command -v apt-get >/dev/null; then \
		echo "installing QEMU: qemu-system-x86"; \
		$(SUDO) apt-get update -q && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends qemu-system-x86; \
	elif command -v dnf >/dev/null; then \
		echo "installing QEMU: qemu-system-x86-core"; \
		$(SUDO) dnf install -y qemu-system-x86-core; \
	else \
		echo "install QEMU for x86_64 (qemu-system-x86_64) by your distribution's means" >&2; exit 2; \
	fi
	@missing=; for tool in mkfs.ext4:e2fsprogs mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs mkfs.vfat:dosfstools mkfs.erofs:erofs-utils sqfstar:squashfs-tools; do \
		PATH="$$PATH:/usr/sbin:/sbin" command -v $${tool%:*} >/dev/null || missing="$$missing $${tool#*:}"; \
	done; \
	if [ -z "$$missing" ]; then :; \
	elif command -v apt-get >/dev/null; then \
		echo "installing what makes file systems:$$missing"; \
		$(SUDO) apt-get update -q && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; \
	elif command -v dnf >/dev/null; then \
		echo "installing what makes file systems:$$missing"; \
		$(SUDO) dnf install -y $$missing; \
	fi || echo "without$$missing some cases are skipped" >&2
	@if command -v apt-get >/dev/null && [ -z "$$(apt-cache search --names-only '^linux-image-' 2>/dev/null | head -n 1)" ]; then \
		echo "fetching the package lists, to find a kernel by"; $(SUDO) apt-get update -q; \
	fi
	@if grep -qs VERSION_CODENAME=bookworm /etc/os-release && \
		! { command -v gcc-12 && command -v xz && [ -e /usr/lib/x86_64-linux-gnu/libelf.so.1 ]; } >/dev/null 2>&1; then \
		echo "installing what builds a kernel module: gcc-12, libelf1, xz-utils"; \
		$(SUDO) apt-get update -q && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends gcc-12 libelf1 xz-utils; \
	fi

clean:
	rm -rf bin
