"""What users of IBM's runtime write runs after a change of the imports and of the line that makes the backend."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
from pubworks.client import Batch, Client, Session
from pubworks.client import Estimator, Sampler
from qiskit_aer import AerSimulator

service = Client()
backend = AerSimulator()

# everything below is as with qiskit_ibm_runtime
import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager

circuit = QuantumCircuit(2)
circuit.h(0)
circuit.cx(0, 1)
circuit.ry(Parameter("a"), 0)
observables = [[SparsePauliOp(["XX", "IY"], [0.5, 0.5])], [SparsePauliOp("XX")], [SparsePauliOp("IY")]]
params = np.linspace(0, 1, 2).reshape(2, 1)
isa = generate_preset_pass_manager(backend=backend, optimization_level=1).run(circuit)
estimator_pub = (isa, [[o.apply_layout(isa.layout) for o in row] for row in observables], params)
measured = isa.copy()
measured.measure_all()
sampler_pub = (measured, params)

# a block, and primitives that take its backend
with Session(backend=backend) as session:
    estimator = Estimator()
    sampler = Sampler()
    job1 = estimator.run([estimator_pub])
    job2 = sampler.run([sampler_pub])
result = job1.result()
result2 = job2.result()
assert result[0].data.evs.shape == (3, 2)
assert result2[0].data.meas.num_shots == 1024

# without a block
session = Session(backend=backend, max_time="25m")
estimator = Estimator(mode=session)
sampler = Sampler(mode=session)
job1 = estimator.run([estimator_pub])
job2 = sampler.run([sampler_pub])
print(f"Result1: {job1.result()}")
print(f"Result2: {job2.result()}")
assert session.status() == "In progress, accepting new jobs"
assert session.backend() and session.usage() > 0
assert session.details()["max_time"] == 1500
assert session.details()["interactive_timeout"] == 60
session.close()
assert session.status() == "Closed"

# the session of a job, found again
new_session = Session.from_id(job1.session_id, service)
assert new_session.session_id == session.session_id
assert [job.job_id() for job in service.jobs(session=new_session)] == [job2.job_id(), job1.job_id()]

# a workload in parts
circuits = [measured.assign_parameters([x]) for x in range(6)]
all_partitioned_circuits = [circuits[i : i + 2] for i in range(0, len(circuits), 2)]
jobs = []
with Batch(backend=backend, max_time=600) as batch:
    sampler = Sampler()
    for partitioned_circuits in all_partitioned_circuits:
        job = sampler.run(partitioned_circuits)
        jobs.append(job)
assert all(len(job.result()) == 2 for job in jobs)
assert batch.details()["mode"] == "batch"
batch.cancel()

# an optimisation, step by step
def cost_func(params, ansatz, hamiltonian, estimator):
    return estimator.run([(ansatz, hamiltonian, params)]).result()[0].data.evs

with Session(backend=backend) as session:
    estimator = Estimator(mode=session, options={"default_precision": 0.05})
    costs = [cost_func([x], isa, SparsePauliOp("XX").apply_layout(isa.layout), estimator) for x in (0.0, 0.5, 1.0)]
assert len(costs) == 3 and session.progress().num_jobs == 3

# two of them at once, told apart by their tags
from concurrent.futures import ThreadPoolExecutor

def minimize_thread(estimator, x):
    return cost_func([x], isa, SparsePauliOp("XX").apply_layout(isa.layout), estimator)

with Session(backend=backend), ThreadPoolExecutor() as executor:
    estimator1 = Estimator()
    estimator2 = Estimator(options={"environment": {"job_tags": ["nelder-mead"]}})
    estimator1.options.environment.job_tags = ["cobyla"]
    futures = [executor.submit(minimize_thread, one, 0.5) for one in (estimator1, estimator2)]
    assert all(-1 <= future.result() <= 1 for future in futures)
assert [len(service.jobs(tags=[tag])) for tag in ("cobyla", "nelder-mead")] == [1, 1]
"""


def test_the_examples_of_ibms_guides_run(tmp_path: Path) -> None:
    environment = {
        "HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PUBWORKS_DATA_DIR": str(tmp_path), "QISKIT_PARALLEL": "FALSE",
    }  # fmt: skip
    command = [sys.executable, "-W", "error::UserWarning", "-c", SCRIPT]
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=90
    )
    assert ran.returncode == 0, ran.stderr
    assert "Result2: PrimitiveResult" in ran.stdout
