using System.Diagnostics;
using KeyVa.Histories;
using Xunit;

namespace KeyVa.Tests.Histories;

public sealed class LinearizabilityCheckerTests
{
    [Theory]
    [InlineData("0 0 10 ok k1 write 1", "1 20 30 ok k1 read 1")]
    [InlineData("0 0 10 ok k1 read -", "1 0 10 ok k1 remove no", "1 20 30 ok k1 cas - 1 yes", "1 40 50 ok k1 remove yes", "0 60 70 ok k1 read -")]
    [InlineData("0 0 100 ok k1 write 1", "1 10 20 ok k1 read 1", "2 10 20 ok k1 read -")]
    [InlineData("0 0 100 ok k1 write 1", "1 10 20 ok k1 read -", "1 30 40 ok k1 read 1", "2 50 60 ok k2 read -")]
    [InlineData("0 0 10 ok k1 write 1", "0 20 30 fail k1 write 2", "1 40 50 ok k1 read 1")]
    // Unknown outcomes: never, at once, or late.
    [InlineData("0 0 - unknown k1 write 1", "1 10 20 ok k1 read -", "1 30 40 ok k1 read -")]
    [InlineData("0 0 - unknown k1 write 1", "1 10 20 ok k1 read -", "1 30 40 ok k1 read 1")]
    [InlineData("0 0 10 ok k1 write 1", "0 20 - unknown k1 cas 1 2 ?", "1 30 40 ok k1 read 1", "1 50 60 ok k1 read 2")]
    [InlineData("0 0 10 ok k1 write 1", "0 20 - unknown k1 remove ?", "1 30 40 ok k1 read 1", "1 50 60 ok k1 cas - 3 yes")]
    [InlineData("0 0 10 ok k1 write 1", "0 20 - unknown k1 cas 1 - ?", "1 30 40 ok k1 read -", "1 50 60 ok k1 cas 1 3 no")]
    public void ALinearizableHistoryHolds(params string[] lines) => AssertVerdict(Verdict.Holds, lines);

    [Theory]
    [InlineData("0 0 10 ok k1 write 1", "1 20 30 ok k1 read -")]
    [InlineData("0 0 10 ok k1 write 1", "0 20 30 ok k1 write 2", "1 40 50 ok k1 read 1")]
    [InlineData("0 0 100 ok k1 write 1", "1 10 20 ok k1 read 1", "1 30 40 ok k1 read -")]
    [InlineData("0 0 10 ok k1 write 1", "1 20 100 ok k1 cas 1 2 yes", "2 20 100 ok k1 cas 1 3 yes")]
    [InlineData("0 0 10 ok k1 write 1", "1 20 30 ok k1 cas 1 2 no")]
    [InlineData("0 0 10 ok k1 remove yes")]
    [InlineData("0 0 10 ok k1 write 1", "1 20 30 ok k1 remove no")]
    [InlineData("0 0 10 fail k1 write 1", "1 20 30 ok k1 read 1")]
    // An unknown outcome happens once, and not before it was asked for.
    [InlineData("0 0 - unknown k1 write 1", "1 10 20 ok k1 read 1", "1 30 40 ok k1 write 2", "1 50 60 ok k1 read 1")]
    [InlineData("1 0 10 ok k1 read 1", "0 20 - unknown k1 write 1")]
    public void OneThatIsNotIsFound(params string[] lines) => AssertVerdict(Verdict.Violated, lines);

    [Fact]
    public void TheExplanationShowsWhereNothingGoesOn()
    {
        List<string> lines = ["0 0 10 ok k7 write 1"];
        lines.AddRange(Enumerable.Range(0, 50).Select(i => $"1 {20 + i} {21 + i} ok k7 read 1"));
        lines.AddRange(["2 100 120 ok k7 write 2", "3 130 140 ok k7 read 1", "3 150 160 ok k7 read 2", "4 155 165 ok k7 write 3", "1 1 2 ok k8 read -"]);
        LinearizabilityResult result = LinearizabilityChecker.Check(History([.. lines]));
        Assert.Equal(Verdict.Violated, result.Verdict);
        Assert.Equal(7, result.Key);
        Assert.Equal(
            """
            key 7 is not linearizable: no order explains the 53 operations that ended up to 140.
            The longest order found holds 52 of them; its last 12:
            """,
            string.Join('\n', result.Explanation!.Split('\n').Take(2)));
        Assert.Contains("100..120                 p2    write 2\nThen the register holds 2, and one of these must come next:\n  ? 130..140                 p3    read 1             does not fit\n", result.Explanation, StringComparison.Ordinal);
        Assert.DoesNotContain("write 3", result.Explanation, StringComparison.Ordinal);
    }

    [Fact]
    public void ASearchThatGrowsTooLargeIsUndecided()
    {
        List<string> lines = [.. Enumerable.Range(0, 20).Select(i => $"{i} 0 1000 ok k1 write {i}"), "20 2000 2001 ok k1 read 99"];
        LinearizabilityResult result = LinearizabilityChecker.Check(History([.. lines]), maxConfigurations: 10_000);
        Assert.Equal(Verdict.Undecided, result.Verdict);
        Assert.Contains("undecided", result.Explanation, StringComparison.Ordinal);
    }

    [Fact]
    public void UnknownOperationsThatLeadNowhereAreNotTried()
    {
        // Removals and conditions make each other possible in any number of ways, and none of them what is read.
        List<string> lines = ["0 0 10 ok k1 write 1"];
        lines.AddRange(Enumerable.Range(0, 20).Select(i => $"{1 + i} 20 - unknown k1 remove ?"));
        lines.AddRange(Enumerable.Range(0, 20).Select(i => $"{21 + i} 20 - unknown k1 cas - {100 + i} ?"));
        lines.AddRange(Enumerable.Range(0, 20).Select(i => $"{41 + i} 20 - unknown k1 cas {100 + i} {200 + i} ?"));
        RegisterHistory violated = History([.. lines, "61 30 40 ok k1 read 99"]);
        Assert.Equal(Verdict.Violated, LinearizabilityChecker.Check(violated, maxConfigurations: 1_000).Verdict);
        RegisterHistory holds = History([.. lines, "61 30 40 ok k1 read 219"]);
        Assert.Equal(Verdict.Holds, LinearizabilityChecker.Check(holds, maxConfigurations: 1_000).Verdict);
    }

    [Fact]
    public void OnTinyHistoriesItSaysWhatTryingEverythingSays()
    {
        int holds = 0;
        const int Histories = 20_000;
        for (int seed = 0; seed < Histories; seed++)
        {
            RegisterHistory history = Tiny(new Random(seed));
            bool expected = TryAll(history.Operations.Where(static one => one.Outcome != Outcome.Fail).ToList(), null);
            LinearizabilityResult result = LinearizabilityChecker.Check(history);
            Assert.True(result.Verdict == (expected ? Verdict.Holds : Verdict.Violated), $"seed {seed}: expected {expected}\n{history}{result.Explanation}");
            holds += expected ? 1 : 0;
        }

        Assert.InRange(holds, Histories / 10, Histories * 9 / 10);
    }

    [Fact]
    public void ARegisterUnderThreadsIsNeverAccusedAndABrokenOneSoonIs()
    {
        for (int seed = 0; seed < 20; seed++)
        {
            LinearizabilityResult result = LinearizabilityChecker.Check(Threads(seed, stale: false));
            Assert.True(result.Verdict == Verdict.Holds, $"seed {seed}\n{result.Explanation}");
        }

        Assert.All(Enumerable.Range(0, 3), seed =>
        {
            RegisterHistory history = Threads(seed, stale: true);
            LinearizabilityResult result = LinearizabilityChecker.Check(history);
            Assert.True(result.Verdict == Verdict.Violated, $"seed {seed}");
            Assert.Contains("must come next", result.Explanation, StringComparison.Ordinal);
        });
    }

    [Fact]
    public void AHundredThousandOperationsTakeSeconds()
    {
        RegisterHistory history = Interleaved(seed: 1, operations: 100_000, unknownEvery: 500);
        long start = Stopwatch.GetTimestamp();
        LinearizabilityResult result = LinearizabilityChecker.Check(history);
        TimeSpan taken = Stopwatch.GetElapsedTime(start);
        Assert.True(result.Verdict == Verdict.Holds, result.Explanation);
        Assert.True(taken < TimeSpan.FromSeconds(30), $"{history.Operations.Count} operations, {result.Configurations} configurations, {taken}");
    }

    /// <summary>
    /// Eight workers whose operations overlap as a seed says, each happening at a moment between its beginning and its end. No threads: how much work
    /// a history is to check would depend on how long the system puts one of them aside.
    /// </summary>
    private static RegisterHistory Interleaved(int seed, int operations, int unknownEvery)
    {
        const int Workers = 8;
        const int Keys = 4;
        var random = new Random(seed);
        int?[] registers = new int?[Keys];
        RegisterWorkload[] workloads = RegisterRun.Workloads(seed, Workers, Keys);
        int[] processes = [.. Enumerable.Range(0, Workers)];
        var steps = new PriorityQueue<Action<long>, long>();
        List<RegisterOperation> done = [];
        for (int i = 0; i < Workers; i++)
        {
            int worker = i;
            steps.Enqueue(now => Begin(worker, now), worker);
        }

        while (steps.TryDequeue(out Action<long>? step, out long now))
        {
            step(now);
        }

        return new RegisterHistory(done);

        // Moments are all different: of one that ends when another begins nobody can say which was first.
        long After(long now, int worker) => ((now / Workers) + random.Next(1, 100)) * Workers + worker;

        void Begin(int worker, long now)
        {
            RegisterRequest request = workloads[worker].Next();
            steps.Enqueue(at => Happen(worker, request, now, at), After(now, worker));
        }

        void Happen(int worker, RegisterRequest request, long invoked, long now)
        {
            int? state = registers[request.Key];
            bool isUnknown = request.Action != RegisterAction.Read && random.Next(unknownEvery) == 0;
            (int? after, bool? held) = request.Action switch
            {
                RegisterAction.Read => (state, null),
                RegisterAction.Write => (request.Value, null),
                RegisterAction.CompareAndSet => state == request.Expected ? (request.Value, true) : (state, (bool?)false),
                _ => (null, state.HasValue),
            };
            registers[request.Key] = isUnknown && random.Next(2) == 0 ? state : after;
            RegisterReply reply = isUnknown ? RegisterReply.Unknown : new RegisterReply(Outcome.Ok, request.Action == RegisterAction.Read ? state : null, held);
            steps.Enqueue(at => End(worker, request, reply, invoked, at), After(now, worker));
        }

        void End(int worker, RegisterRequest request, RegisterReply reply, long invoked, long now)
        {
            bool isUnknown = reply.Outcome == Outcome.Unknown;
            done.Add(new RegisterOperation
            {
                Process = processes[worker],
                Key = request.Key,
                Action = request.Action,
                Outcome = reply.Outcome,
                Invoked = invoked,
                Completed = isUnknown ? RegisterOperation.Never : now,
                Expected = request.Expected,
                Value = request.Action == RegisterAction.Read ? reply.Value : request.Value,
                Held = reply.Held,
            });
            workloads[worker].Learn(request, reply);
            processes[worker] += isUnknown ? Workers : 0;
            if (done.Count + Workers <= operations)
            {
                steps.Enqueue(at => Begin(worker, at), After(now, worker));
            }
        }
    }

    private static RegisterHistory Threads(int seed, bool stale, int operations = 300, int unknownEvery = 50)
    {
        const int Workers = 8;
        SharedRegisters shared = new();
        IRegisterClient[] clients = [.. Enumerable.Range(0, Workers).Select(i => new RegisterToyClient(shared, new Random(seed + i), stale, unknownEvery))];
        RegisterWorkload[] workloads = RegisterRun.Workloads(seed, Workers, 4);
        RegisterRecorder recorder = new(Workers);

        // Rounds end for a worker with its first unknown outcome.
        while (recorder.ToHistory().Operations.Count < operations * Workers)
        {
            RegisterRun.Threads(clients, workloads, recorder, operations);
        }

        return recorder.ToHistory();
    }

    private static RegisterHistory History(params string[] lines) => RegisterHistory.Parse("keyva-history registers 1\n" + string.Join('\n', lines));

    private static void AssertVerdict(Verdict verdict, string[] lines)
    {
        LinearizabilityResult result = LinearizabilityChecker.Check(History(lines));
        Assert.True(result.Verdict == verdict, result.Explanation);
        Assert.Equal(verdict == Verdict.Holds, result.Explanation is null);
    }

    private static RegisterHistory Tiny(Random random)
    {
        List<RegisterOperation> all = [];
        int count = random.Next(2, 7);
        for (int i = 0; i < count; i++)
        {
            int begin = random.Next(40);
            Outcome outcome = random.Next(8) switch { 0 => Outcome.Unknown, 1 => Outcome.Fail, _ => Outcome.Ok };
            RegisterAction action = (RegisterAction)random.Next(4);
            bool held = random.Next(3) > 0;
            all.Add(new RegisterOperation
            {
                Process = i,
                Key = 1,
                Action = action,
                Outcome = outcome,
                Invoked = begin,
                Completed = outcome == Outcome.Unknown ? RegisterOperation.Never : begin + random.Next(1, 30),
                Expected = action == RegisterAction.CompareAndSet ? Value() : null,
                Value = action switch
                {
                    RegisterAction.Read when outcome != Outcome.Ok => null,
                    RegisterAction.Write => random.Next(1, 4),
                    RegisterAction.Remove => null,
                    _ => Value(),
                },
                Held = outcome == Outcome.Ok && action is RegisterAction.CompareAndSet or RegisterAction.Remove ? held : null,
            });
        }

        return new RegisterHistory(all);

        int? Value() => random.Next(4) is > 0 and int value ? value : null;
    }

    /// <summary>Every order of the operations, of those with unknown outcome any choice.</summary>
    private static bool TryAll(List<RegisterOperation> left, int? state)
    {
        if (left.All(static one => one.Outcome == Outcome.Unknown))
        {
            return true;
        }

        for (int i = 0; i < left.Count; i++)
        {
            RegisterOperation one = left[i];
            if (left.Any(other => other.Completed < one.Invoked))
            {
                continue;
            }

            bool known = one.Outcome == Outcome.Ok;
            (bool fits, int? after) = one.Action switch
            {
                RegisterAction.Read => (!known || one.Value == state, state),
                RegisterAction.Write => (true, one.Value),
                RegisterAction.CompareAndSet => (!known || one.Held == (state == one.Expected), state == one.Expected ? one.Value : state),
                _ => (!known || one.Held == state.HasValue, null),
            };
            if (fits)
            {
                List<RegisterOperation> rest = [.. left];
                rest.RemoveAt(i);
                if (TryAll(rest, after))
                {
                    return true;
                }
            }
        }

        return false;
    }

    private sealed class SharedRegisters
    {
        public Lock Lock { get; } = new();

        public Dictionary<int, int?> Values { get; } = [];
    }

    /// <summary>Registers under a lock; stale: it answers a read, now and then, from what it saw itself.</summary>
    private sealed class RegisterToyClient(SharedRegisters shared, Random random, bool stale, int unknownEvery) : IRegisterClient
    {
        private readonly Dictionary<int, int?> _seen = [];

        public ValueTask<RegisterReply> ReadAsync(int key)
        {
            if (stale && random.Next(20) == 0)
            {
                return ValueTask.FromResult(new RegisterReply(Outcome.Ok, _seen.GetValueOrDefault(key)));
            }

            lock (shared.Lock)
            {
                _seen[key] = shared.Values.GetValueOrDefault(key);
                return ValueTask.FromResult(new RegisterReply(Outcome.Ok, _seen[key]));
            }
        }

        public ValueTask<RegisterReply> WriteAsync(int key, int value) => Change(key, _ => (value, null));

        public ValueTask<RegisterReply> CompareAndSetAsync(int key, int? expected, int? value) =>
            Change(key, state => state == expected ? (value, true) : (state, false));

        public ValueTask<RegisterReply> RemoveAsync(int key) => Change(key, state => (null, state.HasValue));

        private ValueTask<RegisterReply> Change(int key, Func<int?, (int? After, bool? Held)> change)
        {
            bool isUnknown = random.Next(unknownEvery) == 0;
            lock (shared.Lock)
            {
                (int? after, bool? held) = change(shared.Values.GetValueOrDefault(key));
                if (!isUnknown || random.Next(2) == 0)
                {
                    shared.Values[key] = after;
                }

                return ValueTask.FromResult(isUnknown ? RegisterReply.Unknown : new RegisterReply(Outcome.Ok, null, held));
            }
        }
    }
}
