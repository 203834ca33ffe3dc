// Reads one simulation a line, writes one answer a line: the decision, or why
// the simulator would not take the case. It runs as a process of its own.
import { createInterface } from 'node:readline'
import { runSimulation } from '@cloud-copilot/iam-simulate'

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await runSimulation(JSON.parse(line), {})
  const out =
    answer.resultType === 'single'
      ? { decision: answer.overallResult, ignored: answer.result.ignoredContextKeys }
      : { error: JSON.stringify(answer) }
  process.stdout.write(JSON.stringify(out) + '\n')
}
