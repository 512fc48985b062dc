using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using KeyVa.Partitions;
using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>
/// Writes of a pipeline that are on their way to the disk while the commands behind them are read. They stand in the partition's queue
/// in the order in which they came, so they share groups, and their syncs; replies come in that order too.
/// </summary>
/// <remarks>
/// <para>One thread at a time: the session's, or that of the task that finishes them.</para>
/// <para>Invariants.
/// 1. Only writes that cannot overtake each other are here: see <see cref="Store.Detours"/>.
/// 2. When the session's turn ends, either there are none, or a task finishes them.
/// 3. All connections together have so many that others still find room in the partitions' queues: see <see cref="RespDoor.MayPend"/>.</para>
/// </remarks>
internal sealed class PendingWrites(RespSession session)
{
    /// <summary>Writes that wait at most.</summary>
    private const int Most = 1024;

    private readonly Queue<Pending> _queue = [];
    private readonly HashSet<ulong> _values = [];

    public bool IsEmpty => _queue.Count == 0;

    public bool IsFull => _queue.Count >= Most;

    /// <summary>Whether one of them gives a key (perhaps: by its hash) another value than a counter's.</summary>
    public bool MayHoldValue(ReadOnlySpan<byte> key) => _values.Count > 0 && _values.Contains(XxHash64.Compute(key));

    /// <summary>A write, what it needs until it is done, and what replies then. <paramref name="began"/>: a timestamp of <see cref="Stopwatch"/>.</summary>
    public void Add(ValueTask<WriteResult> write, IDisposable? needed, Action<RespOutput, WriteResult> reply, CommandInfo info, RespCommand command, long began)
    {
        if (!info.IsCounter)
        {
            for (int i = info.FirstKey; i <= info.LastKeyOf(command.Count); i += info.KeyStep)
            {
                _values.Add(XxHash64.Compute(command[i]));
            }
        }

        session.Door.NotePending(1);
        _queue.Enqueue(new Pending { Write = write, Needed = needed, Reply = reply, Info = info, Command = command.Copy(), Began = began });
    }

    /// <summary>A reply that is known already, behind those that are not.</summary>
    public void Add(byte[] reply) => _queue.Enqueue(new Pending { Raw = reply });

    /// <summary>Replies to those that are done, from the first on; true: there are no others.</summary>
    public bool TryFinish()
    {
        while (_queue.TryPeek(out Pending pending))
        {
            if (!pending.IsCompleted)
            {
                return false;
            }

            _queue.Dequeue();
            Finish(pending);
        }

        _values.Clear();
        return true;
    }

    /// <summary>Waits for all, and replies.</summary>
    public async Task FinishAsync()
    {
        while (_queue.TryDequeue(out Pending pending))
        {
            if (!pending.IsCompleted)
            {
                pending = await pending.AwaitAsync();
            }

            Finish(pending);
        }

        _values.Clear();
    }

    private void Finish(in Pending pending)
    {
        if (pending.Raw is { } raw)
        {
            session.Output.Raw(raw);
            return;
        }

        session.Door.NotePending(-1);
        int place = session.Output.Length;
        Measurements.WriteTimes? times = null;
        try
        {
            WriteResult result = pending.Take();
            times = result.Times;
            session.Receipts?.Note(result);
            pending.Reply!(session.Output, result);
        }
        catch (StoreException failure)
        {
            session.Refuse(failure, place);
        }

        pending.Needed?.Dispose();
        session.Observe(pending.Info!, pending.Command!, pending.Began, place, times);
    }

    private readonly struct Pending
    {
        public ValueTask<WriteResult> Write { get; init; }

        public IDisposable? Needed { get; init; }

        public Action<RespOutput, WriteResult>? Reply { get; init; }

        public CommandInfo? Info { get; init; }

        public RespCommand? Command { get; init; }

        public long Began { get; init; }

        public byte[]? Raw { get; init; }

        public bool IsCompleted => Raw is not null || Write.IsCompleted;

        [SuppressMessage("Reliability", "CA2012", Justification = "taken once, when it is out of the queue")]
        public WriteResult Take() => Write.GetAwaiter().GetResult();

        /// <summary>The same with a write that has ended: the task that backed it is used up.</summary>
        public async ValueTask<Pending> AwaitAsync()
        {
            Task<WriteResult> ended = Write.AsTask();
            await ((Task)ended).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            return new Pending { Write = new ValueTask<WriteResult>(ended), Needed = Needed, Reply = Reply, Info = Info, Command = Command, Began = Began };
        }
    }
}
