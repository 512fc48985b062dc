namespace KeyVa.Server.Resp;

/// <summary>
/// Keyspace notifications: while some are asked for, a watch of the whole store is published on the channels <c>__keyspace@0__:KEY</c> and
/// <c>__keyevent@0__:EVENT</c>. So writes that came over other front doors are told too, in the order of the log. Thread-safe.
/// </summary>
internal sealed class KeyspaceEvents(RespDoor door) : IAsyncDisposable
{
    /// <summary>The classes of events, in the order in which they are shown, after those that say on which channels.</summary>
    private const string Classes = "g$lshzxetdmn";
    private const string AllClasses = "g$lshzxetd";

    private readonly Lock _lock = new();
    private CancellationTokenSource? _stop;
    private Task _pump = Task.CompletedTask;
    private volatile string _flags = "";

    /// <summary>What is told, as notify-keyspace-events shows it.</summary>
    public string Flags => _flags;

    /// <summary>Takes flags such as <c>KEA</c> or <c>Kg$</c>; false: one of them is unknown.</summary>
    public bool TrySet(string text)
    {
        if (text.Any(static flag => !$"AKE{Classes}".Contains(flag, StringComparison.Ordinal)))
        {
            return false;
        }

        text = text.Replace("A", AllClasses, StringComparison.Ordinal);
        string classes = string.Concat(Classes.Where(flag => text.Contains(flag, StringComparison.Ordinal)));
        classes = classes.StartsWith(AllClasses, StringComparison.Ordinal) ? "A" + classes[AllClasses.Length..] : classes;
        string channels = string.Concat("KE".Where(flag => text.Contains(flag, StringComparison.Ordinal)));
        lock (_lock)
        {
            // As Redis shows them: classes, channels, and the two that A leaves out behind those.
            int late = classes.IndexOfAny(['m', 'n']);
            _flags = late < 0 ? classes + channels : classes[..late] + channels + classes[late..];
            bool tells = channels.Length > 0 && classes.IndexOfAny(['A', 'g', '$']) >= 0;
            if (tells && _stop is null)
            {
                _stop = new CancellationTokenSource();
                CancellationToken token = _stop.Token;
                _pump = Task.Run(() => PumpAsync(token), CancellationToken.None);
            }
            else if (!tells && _stop is not null)
            {
                _stop.Cancel();
                _stop.Dispose();
                _stop = null;
            }
        }

        return true;
    }

    public async ValueTask DisposeAsync()
    {
        TrySet("");
        await _pump;
    }

    private async Task PumpAsync(CancellationToken cancellation)
    {
        while (!cancellation.IsCancellationRequested)
        {
            try
            {
                await foreach (WatchEvent told in door.Store.WatchAsync(new WatchOptions { KeysOnly = true }, cancellation))
                {
                    Publish(told);
                }
            }
            catch (CompactedException)
            {
                // Too slow: what was lost is lost, as these events promise nothing; it goes on from now.
            }
            catch (Exception e) when (e is OperationCanceledException or StoreClosedException)
            {
                return;
            }
            catch (StoreException failure)
            {
                door.Failures.Report(failure, "notify-keyspace-events", "resp");
                return;
            }
        }
    }

    private void Publish(in WatchEvent told)
    {
        switch (told.Kind)
        {
            case WatchEventKind.Put:
                Publish('$', "set"u8, told.Key.Span);
                break;
            case WatchEventKind.Remove:
                Publish('g', "del"u8, told.Key.Span);
                break;
        }
    }

    private void Publish(char kind, ReadOnlySpan<byte> what, ReadOnlySpan<byte> key)
    {
        string flags = _flags;
        if (!flags.Contains('A', StringComparison.Ordinal) && !flags.Contains(kind, StringComparison.Ordinal))
        {
            return;
        }

        if (flags.Contains('K', StringComparison.Ordinal))
        {
            door.Hub.Publish([.. "__keyspace@0__:"u8, .. key], what);
        }

        if (flags.Contains('E', StringComparison.Ordinal))
        {
            door.Hub.Publish([.. "__keyevent@0__:"u8, .. what], key);
        }
    }
}
