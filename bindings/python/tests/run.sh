#!/bin/sh
# The tests of the Python module, on the library that was just built: run.sh [PYTEST-ARGUMENT...]
#
# PYTHON is the interpreter; by default the first one here that has pytest.
set -u
cd "$(dirname "$0")/.." || exit 1
export OVL_LIBRARY="${OVL_LIBRARY:-$PWD/../../build/libovl.so.0}"

for python in ${PYTHON:-python3 /usr/bin/python3}; do
	if "$python" -c 'import pytest' 2>/dev/null; then
		exec "$python" -X dev -m pytest -q -p no:cacheprovider "$@"
	fi
done
case ,${OVL_TEST_HAVE:-}, in *,pytest,*)
	echo "python: OVL_TEST_HAVE declares pytest, but no python3 here has it"
	exit 1
	;;
esac
echo "SKIP python: lacks pytest"
echo "python: 0 passed, 0 failed"
