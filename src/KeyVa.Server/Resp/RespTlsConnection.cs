using System.Diagnostics;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using KeyVa.Server.Identity;
using KeyVa.Server.Tls;

namespace KeyVa.Server.Resp;

/// <summary>
/// A Redis client over TLS: a task of its own on the thread pool, beside the loops, which know sockets alone. It keeps the loops' rules: one thread at a time has the
/// session; while the session is busy nothing is received; a client that takes nothing, or does not go on, is cut off.
/// </summary>
/// <remarks>
/// What it costs, beside the cipher: a switch of threads for each receive, and up to 48 KiB for the stream's buffers of each connection (docs/decisions/resp.md).
/// </remarks>
internal sealed class RespTlsConnection : IAsyncDisposable
{
    private const int HighWater = 1 << 20;

    private readonly long _opened = Stopwatch.GetTimestamp();
    private readonly RespDoor _door;
    private readonly NetworkStream _inner;
    private readonly SslStream _stream;
    private readonly RespInput _input;
    private readonly CancellationToken _stopping;
    private TaskCompletionSource _woken = NewSignal();

    public RespTlsConnection(Socket socket, RespDoor door, CancellationToken stopping)
    {
        _door = door;
        _stopping = stopping;
        _inner = new NetworkStream(socket, ownsSocket: true);
        _stream = new SslStream(_inner, leaveInnerStreamOpen: true);
        _input = new RespInput(door);
        Session = door.TryOpen(socket.RemoteEndPoint, Wake);
    }

    /// <summary>Null: there are too many connections.</summary>
    private RespSession? Session { get; }

    /// <summary>Serves the connection to its end.</summary>
    public async Task RunAsync(TlsCertificates certificates)
    {
        try
        {
            if (Session is not { } session || !await TlsConnection.TryShakeHandsAsync(_stream, certificates.OptionsFor(null), _stopping))
            {
                return;
            }

            if (_stream.RemoteCertificate is X509Certificate2 certificate)
            {
                session.Identity.Show(CertificateName.Of(certificate));
            }

            await ServeAsync(session);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or OperationCanceledException)
        {
            // The other side went away, or was cut off.
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (Session?.Busy is { } busy)
        {
            // It still writes into the output.
            Session.Kill();
            await busy.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        Session?.Dispose();
        _input.Dispose();
        await _stream.DisposeAsync();
        await _inner.DisposeAsync();
    }

    private async Task ServeAsync(RespSession session)
    {
        Task<int>? receiving = null;
        using CancellationTokenSource end = CancellationTokenSource.CreateLinkedTokenSource(_stopping);
        try
        {
            while (true)
            {
                // Before anything is looked at: whoever wakes it from here on is not missed.
                Task woken = Signal();
                if (session.Busy is { } busy)
                {
                    await busy.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                    session.EndBusy();
                }

                session.Outbox.MoveTo(session.Output, HighWater);
                if (session.IsKilled || session.Outbox.IsOverflown || session.Output.IsOverflown)
                {
                    return;
                }

                if (!session.Output.IsEmpty)
                {
                    await SendAsync(session);
                }
                else if (session.IsClosing || _stopping.IsCancellationRequested)
                {
                    return;
                }
                else if (!_input.IsEmpty && !session.NeedsInput && receiving is null)
                {
                    _input.Process(session);
                }
                else
                {
                    if (receiving is null)
                    {
                        if (!_input.TryRoom(out Memory<byte> room))
                        {
                            return;
                        }

                        receiving = _stream.ReadAsync(room, end.Token).AsTask();
                    }

                    if (!await WaitAsync(session, receiving, woken))
                    {
                        return;
                    }

                    if (receiving.IsCompleted)
                    {
                        int received = await receiving;
                        receiving = null;
                        if (received == 0)
                        {
                            return;
                        }

                        session.CountReceived(received);
                        _input.NoteReceived(received);
                        _input.Process(session);
                    }
                }
            }
        }
        finally
        {
            await end.CancelAsync();
            if (receiving is not null)
            {
                // Its buffer goes back to the pool behind this.
                await ((Task)receiving).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    /// <summary>Waits until something came or somebody has woken it; false: it was too long.</summary>
    private async Task<bool> WaitAsync(RespSession session, Task receiving, Task woken)
    {
        if (_input.IsTooSlow(_door.Patience))
        {
            return false;
        }

        TimeSpan limit = !session.Caller.IsKnown ? _door.Patience - Stopwatch.GetElapsedTime(_opened)
            : !_input.IsEmpty ? _door.Patience
            : _door.IdleTimeout > TimeSpan.Zero && session.Subscriptions.Count == 0 ? _door.IdleTimeout
            : Timeout.InfiniteTimeSpan;
        if (limit == Timeout.InfiniteTimeSpan)
        {
            await Task.WhenAny(receiving, woken);
            return true;
        }

        if (limit <= TimeSpan.Zero)
        {
            return false;
        }

        try
        {
            await Task.WhenAny(receiving, woken).WaitAsync(limit);
            return true;
        }
        catch (TimeoutException)
        {
            return false;
        }
    }

    private async Task SendAsync(RespSession session)
    {
        // Nothing else writes while this does: the session is this task's.
        byte[] unsent = session.Output.Unsent.ToArray();
        long held = Math.Max(0, unsent.Length - RespInput.FreeBytes);
        if (!_door.TryHold(held))
        {
            throw new IOException("all connections together hold too much for this reply");
        }

        try
        {
            session.Output.Sent(unsent.Length);
            using CancellationTokenSource patience = CancellationTokenSource.CreateLinkedTokenSource(_stopping);
            patience.CancelAfter(_door.Patience);
            await _stream.WriteAsync(unsent, patience.Token);
            session.CountSent(unsent.Length);
        }
        finally
        {
            _door.TryHold(-held);
        }
    }

    private void Wake() => Volatile.Read(ref _woken).TrySetResult();

    /// <summary>A task that ends with the next <see cref="Wake"/>.</summary>
    private Task Signal()
    {
        TaskCompletionSource signal = Volatile.Read(ref _woken);
        if (signal.Task.IsCompleted)
        {
            signal = NewSignal();
            Volatile.Write(ref _woken, signal);
        }

        return signal.Task;
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
