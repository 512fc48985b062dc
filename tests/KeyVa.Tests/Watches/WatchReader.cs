using System.Text;
using Xunit;

namespace KeyVa.Tests.Watches;

/// <summary>Reads a watch step by step; fails instead of waiting for ever.</summary>
internal sealed class WatchReader : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private readonly IAsyncEnumerator<WatchEvent> _events;
    private Task<bool>? _next;

    private WatchReader(IAsyncEnumerator<WatchEvent> events) => _events = events;

    /// <summary>The version of the first progress.</summary>
    public long Begun { get; private set; }

    public static async Task<WatchReader> OpenAsync(IStore store, WatchOptions options, CancellationToken cancellation = default)
    {
        var reader = new WatchReader(store.WatchAsync(options, cancellation).GetAsyncEnumerator(cancellation));
        WatchEvent first = await reader.AnyAsync();
        Assert.Equal(WatchEventKind.Progress, first.Kind);
        reader.Begun = first.Version;
        return reader;
    }

    public static Task<WatchReader> OpenAsync(IStore store, string prefix, long startVersion = 0) =>
        OpenAsync(store, new WatchOptions { Prefix = Encoding.UTF8.GetBytes(prefix), StartVersion = startVersion });

    /// <summary>The next event, progress or not.</summary>
    public async Task<WatchEvent> AnyAsync()
    {
        Task<bool> next = _next ?? _events.MoveNextAsync().AsTask();
        _next = null;
        Assert.True(await next.WaitAsync(Patience), "a watch does not end by itself");
        return _events.Current;
    }

    /// <summary>The next change.</summary>
    public async Task<WatchEvent> NextAsync()
    {
        while (true)
        {
            WatchEvent told = await AnyAsync();
            if (told.Kind != WatchEventKind.Progress)
            {
                return told;
            }
        }
    }

    /// <summary>The next changes as text, one behind the other.</summary>
    public async Task<string> NextAsync(int count)
    {
        var text = new List<string>();
        for (int i = 0; i < count; i++)
        {
            text.Add(Show(await NextAsync()));
        }

        return string.Join(' ', text);
    }

    /// <summary>Whether an event is there already; it stays for the next call.</summary>
    public bool HasNext()
    {
        _next ??= _events.MoveNextAsync().AsTask();
        return _next.IsCompleted;
    }

    /// <summary><c>key=value</c>, <c>-key</c>, <c>-[from,to)</c>; a plus where more of the version follows.</summary>
    public static string Show(in WatchEvent told) => told.Kind switch
    {
        WatchEventKind.Put => $"{Text(told.Key)}={Text(told.Value)}",
        WatchEventKind.Remove => $"-{Text(told.Key)}",
        WatchEventKind.RemoveRange => $"-[{Text(told.Key)},{Text(told.To)})",
        _ => $"@{told.Version}",
    } + (told.HasMore ? "+" : "");

    public static string Text(ReadOnlyMemory<byte> bytes) => Encoding.UTF8.GetString(bytes.Span);

    public async ValueTask DisposeAsync()
    {
        if (_next is { IsCompleted: false })
        {
            // The enumeration can only be disposed while nothing waits for it: its test cancelled it, or its store has ended.
            await Xunit.Record.ExceptionAsync(() => _next);
        }

        await _events.DisposeAsync();
    }
}
