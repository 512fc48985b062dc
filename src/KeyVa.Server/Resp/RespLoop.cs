using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using KeyVa.Partitions;

namespace KeyVa.Server.Resp;

/// <summary>
/// One thread that serves its share of the Redis connections: it waits for those that have something (epoll(7), edge-triggered), receives, has the session
/// answer, and sends. A request that needs no disk costs one receive and one send, and no other thread.
/// </summary>
/// <remarks>
/// <para>The plain design, Kestrel's connection handlers, gives each request to the thread pool, and reached three quarters of Redis's rate with one
/// request at a time before it did anything at all (docs/decisions/resp.md).</para>
/// <para>Invariants.
/// 1. A connection is touched by its loop's thread alone; others post it. A posted connection is looked at once for any number of posts.
/// 2. Edge-triggered: the kernel tells once. Whoever has been told notes it (<see cref="RespConnection.IsReadable"/>) until a receive came back short;
///    of a client that has hung up until a receive says so, since no other edge comes.
/// 3. While a session's task runs, its connection receives nothing; while its client takes nothing, it does nothing.
/// 4. A connection is served for a bounded time; what is left is posted behind the others.
/// 5. Writes that are to be synced are held (<see cref="WriteHold"/>) until all who had something were answered and have been sent what they only read, or for
///    <see cref="LongestHold"/>. A connection that waits for that is in <c>_held</c>, and nothing else is done of it.</para>
/// </remarks>
internal sealed class RespLoop
{
    private const int MaxEvents = 256;
    private const int ReceiveBytes = 64 << 10;
    private const int RoundsPerTurn = 8;
    private const int HighWater = 1 << 20;
    private const int TickMilliseconds = 1000;

    /// <summary>So long a write waits for others at most.</summary>
    private static readonly TimeSpan LongestHold = TimeSpan.FromMilliseconds(1);

    private readonly int _epoll;
    private readonly int _wakeUp;
    private readonly byte[] _events = Epoll.Events(MaxEvents);
    private readonly byte[] _received = GC.AllocateUninitializedArray<byte>(ReceiveBytes, pinned: true);
    private readonly ConcurrentQueue<RespConnection> _posted = new();
    private readonly Dictionary<int, RespConnection> _connections = [];
    private readonly List<RespConnection> _told = [];
    private readonly WriteHold _hold = new();
    private readonly List<RespConnection> _held = [];
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly ServerLog _log;
    private int _isWoken;
    private volatile bool _isStopping;
    private long _lastSweep = Stopwatch.GetTimestamp();

    public RespLoop(RespDoor door, ServerLog log, int number)
    {
        Door = door;
        _log = log;
        _epoll = Checked(Epoll.Create());
        _wakeUp = Checked(Epoll.CreateWakeUp());
        Checked(Epoll.Add(_epoll, _wakeUp, Epoll.Readable));
        new Thread(Run) { IsBackground = true, Name = $"keyva-resp-{number}" }.Start();
    }

    public RespDoor Door { get; }

    /// <summary>Serves a connection from now on.</summary>
    public void Add(Socket socket) => new RespConnection(socket, this, Door).Wake();

    /// <summary>Looks at a connection soon; from any thread.</summary>
    public void Post(RespConnection connection)
    {
        _posted.Enqueue(connection);
        WakeUp();
    }

    /// <summary>Closes the connections, those that wait for the store when they have their answer, and ends the thread.</summary>
    public Task StopAsync()
    {
        _isStopping = true;
        WakeUp();
        return _ended.Task;
    }

    private void WakeUp()
    {
        if (Interlocked.Exchange(ref _isWoken, 1) == 0)
        {
            Epoll.Wake(_wakeUp);
        }
    }

    private void Run()
    {
        _hold.Begin();
        while (!_isStopping || _connections.Count > 0)
        {
            int count = Epoll.Wait(_epoll, _events, TickMilliseconds);
            for (int i = 0; i < count; i++)
            {
                (int descriptor, uint events) = Epoll.EventAt(_events, i);
                if (descriptor == _wakeUp)
                {
                    Epoll.Awake(_wakeUp);
                }
                else if (_connections.TryGetValue(descriptor, out RespConnection? connection))
                {
                    connection.IsReadable |= (events & ~Epoll.Writable) != 0;
                    connection.HasHungUp |= (events & (Epoll.PeerHungUp | Epoll.HungUp | Epoll.Error)) != 0;
                    connection.IsBlocked &= (events & Epoll.Writable) == 0;
                    Serve(connection, isFirstPass: true);
                    _told.Add(connection);
                }
            }

            // Replies are sent when all who had something were answered: a client of many connections wakes up once.
            foreach (RespConnection connection in _told)
            {
                Serve(connection);
            }

            _told.Clear();

            Volatile.Write(ref _isWoken, 0);
            Interlocked.MemoryBarrier();
            TakePosted();
            ReleaseHeld();
            Sweep();
        }

        while (_posted.TryDequeue(out RespConnection? late))
        {
            // Came too late to be served; those that were served are closed already.
            if (!late.IsClosed)
            {
                late.Dispose();
            }
        }

        // The other descriptor stays: what ends late may still wake this loop, and must not write to whatever has that number then.
        _ = Epoll.Close(_epoll);
        _ended.SetResult();
    }

    private void TakePosted()
    {
        // Those that are posted meanwhile have their turn when the kernel was asked again.
        for (int left = _posted.Count; left > 0 && _posted.TryDequeue(out RespConnection? connection); left--)
        {
            connection.NoteTaken();
            if (connection.IsClosed)
            {
                continue;
            }

            if (!_connections.TryAdd(connection.Descriptor, connection) || TryRegister(connection))
            {
                Serve(connection);
            }
        }
    }

    private bool TryRegister(RespConnection connection)
    {
        connection.LastHeard = Stopwatch.GetTimestamp();
        if (connection.Session is null)
        {
            _ = Epoll.Send(connection.Descriptor, "-ERR max number of clients reached\r\n"u8);
            Close(connection);
            return false;
        }

        if (Epoll.Add(_epoll, connection.Descriptor, Epoll.Readable | Epoll.Writable | Epoll.PeerHungUp | Epoll.EdgeTriggered) < 0)
        {
            // The system watches no more descriptors: those that are here go on.
            _log.RespNotAccepted(Marshal.GetPInvokeErrorMessage(Marshal.GetLastSystemError()));
            Close(connection);
            return false;
        }

        return true;
    }

    private void Serve(RespConnection connection, bool isFirstPass = false)
    {
        if (connection.IsClosed)
        {
            return;
        }

        bool wasHeld = connection.Session is { Writes.IsHeld: true };
        try
        {
            if (!(isFirstPass ? TryAnswer(connection) : TryServe(connection)))
            {
                Close(connection);
            }
        }
        catch (Exception defect)
        {
            // Nothing that a client sends may lead here. It costs this client its connection, and nobody else anything.
            _log.RespDefect(defect);
            PipelinedGets.OfThisThread.Forget();
            Close(connection);
        }

        if (!wasHeld && connection.Session is { Writes.IsHeld: true })
        {
            _held.Add(connection);
        }

        if (_hold.HasWrites && Stopwatch.GetElapsedTime(_hold.Since) > LongestHold)
        {
            ReleaseHeld();
        }
    }

    /// <summary>Has all that was held written, and goes on with those who waited for it.</summary>
    private void ReleaseHeld()
    {
        _hold.Release();
        foreach (RespConnection connection in _held)
        {
            Serve(connection);
        }

        _held.Clear();
        _hold.Begin();
    }

    /// <summary>Receives and answers, if nothing else is to be done before; false: the connection has ended.</summary>
    private bool TryAnswer(RespConnection connection)
    {
        RespSession session = connection.Session!;
        bool isIdle = session.Busy is null && !session.Writes.IsHeld && session.Output.IsEmpty && session.Outbox.IsEmpty && !connection.HasInput && !session.IsClosing && !session.IsKilled;
        return !isIdle || !connection.IsReadable || TryReceive(connection);
    }

    /// <summary>Sends, receives and answers until there is nothing left, or it was long enough; false: the connection has ended.</summary>
    private bool TryServe(RespConnection connection)
    {
        RespSession session = connection.Session!;
        for (int round = 0; round < RoundsPerTurn; round++)
        {
            if (session.Writes.IsHeld)
            {
                if (WriteHold.Current is not null)
                {
                    return true;
                }

                session.Writes.Settle();
            }

            if (session.Busy is { } task)
            {
                if (!task.IsCompleted)
                {
                    Await(connection, task);
                    return true;
                }

                connection.IsAwaited = false;
                session.EndBusy();
            }

            session.Outbox.MoveTo(session.Output, HighWater);
            if (!TrySend(connection) || !connection.TryHoldOutput() || session.IsKilled || session.Outbox.IsOverflown || session.Output.IsOverflown)
            {
                return false;
            }

            if (connection.IsBlocked)
            {
                return true;
            }

            if (session.IsClosing || _isStopping)
            {
                return false;
            }

            if (connection.HasInput && !session.NeedsInput)
            {
                connection.Process();
            }
            else if (connection.IsReadable)
            {
                if (!TryReceive(connection))
                {
                    return false;
                }
            }
            else if (session.Outbox.IsEmpty)
            {
                return true;
            }
        }

        connection.Wake();
        return true;
    }

    private static void Await(RespConnection connection, Task task)
    {
        if (!connection.IsAwaited)
        {
            connection.IsAwaited = true;
            task.ConfigureAwait(false).GetAwaiter().UnsafeOnCompleted(connection.WakeAction);
        }
    }

    /// <summary>Receives once and has the session answer; false: the connection has ended.</summary>
    private bool TryReceive(RespConnection connection)
    {
        bool ownRoom = connection.HasInput;
        Span<byte> room = _received;
        if (ownRoom && !connection.TryRoom(out room))
        {
            _ = Epoll.Send(connection.Descriptor, "-ERR too many bytes of unfinished commands, try again later\r\n"u8);
            return false;
        }

        int received = Epoll.Receive(connection.Descriptor, room);
        if (received <= 0)
        {
            int error = received < 0 ? Marshal.GetLastSystemError() : 0;
            connection.IsReadable = error == Epoll.Interrupted;
            return error is Epoll.WouldBlock or Epoll.Interrupted;
        }

        connection.IsReadable = received == room.Length || connection.HasHungUp;
        connection.LastHeard = Stopwatch.GetTimestamp();
        connection.Session!.CountReceived(received);
        if (ownRoom)
        {
            connection.NoteReceived(received);
            connection.Process();
            return true;
        }

        int start = 0;
        connection.Session!.Process(_received, ref start, received);
        return start == received || connection.Session.IsClosing || connection.TryKeep(_received.AsSpan(start, received - start));
    }

    private static bool TrySend(RespConnection connection)
    {
        RespSession session = connection.Session!;
        while (!session.Output.IsEmpty && !connection.IsBlocked)
        {
            int sent = Epoll.Send(connection.Descriptor, session.Output.Unsent);
            if (sent >= 0)
            {
                session.Output.Sent(sent);
                session.CountSent(sent);
                continue;
            }

            int error = Marshal.GetLastSystemError();
            if (error == Epoll.WouldBlock)
            {
                connection.IsBlocked = true;
                connection.BlockedSince = Stopwatch.GetTimestamp();
            }
            else if (error != Epoll.Interrupted)
            {
                return false;
            }
        }

        return true;
    }

    private void Close(RespConnection connection)
    {
        if (connection.Session is { Writes.IsHeld: true, IsKilled: false })
        {
            // Its end comes when its writes were released.
            connection.Session.Kill();
            return;
        }

        if (connection.Session?.Busy is { IsCompleted: false } task)
        {
            // Its task still writes into the output: the end comes when that has ended.
            if (!connection.Session.IsKilled)
            {
                connection.Session.Kill();
            }

            Await(connection, task);
            return;
        }

        _connections.Remove(connection.Descriptor);
        connection.Dispose();
    }

    /// <summary>About once a second: who has been silent for too long, and the end of all.</summary>
    private void Sweep()
    {
        if (!_isStopping && Stopwatch.GetElapsedTime(_lastSweep).TotalMilliseconds < TickMilliseconds)
        {
            return;
        }

        _lastSweep = Stopwatch.GetTimestamp();
        foreach (RespConnection connection in _connections.Values.ToArray())
        {
            RespSession session = connection.Session!;
            TimeSpan silent = Stopwatch.GetElapsedTime(connection.LastHeard);
            bool isIdle = Door.IdleTimeout > TimeSpan.Zero && silent > Door.IdleTimeout && session.Subscriptions.Count == 0;
            bool isStuck = connection.HasInput && !connection.IsBlocked && (silent > Door.Patience || connection.IsTooSlow(Door.Patience));
            bool isDeaf = connection.IsBlocked && Stopwatch.GetElapsedTime(connection.BlockedSince) > Door.Patience;
            bool isStranger = !session.Caller.IsKnown && Stopwatch.GetElapsedTime(connection.Opened) > Door.Patience;
            if (_isStopping || (session.Busy is null && (isIdle || isStuck || isDeaf || isStranger)))
            {
                Close(connection);
            }
        }
    }

    private static int Checked(int result) => result >= 0
        ? result
        : throw new StorageException("epoll", "resp", Marshal.GetLastSystemError(), Marshal.GetPInvokeErrorMessage(Marshal.GetLastSystemError()));
}
