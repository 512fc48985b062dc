using System.CommandLine;
using KeyVa.Server;

namespace KeyVa.Cli;

/// <summary>The options that name a version or a time of the past, shared by all commands that take one. Immutable.</summary>
internal sealed class MomentOptions
{
    private readonly string _names;

    private MomentOptions(string prefix, string verb)
    {
        Version = new($"--{prefix}-version") { Description = $"{verb} this version", HelpName = "N" };
        Time = new($"--{prefix}-time")
        {
            Description = $"{verb} this time: ISO 8601, such as 2026-01-31T12:00:00Z (UTC without a zone), or how long ago, such as 15m",
            HelpName = "TIME",
        };
        _names = $"--{prefix}-version and --{prefix}-time";
    }

    public Option<long?> Version { get; }

    public Option<string?> Time { get; }

    /// <summary><c>--at-version</c> and <c>--at-time</c>.</summary>
    public static MomentOptions At() => new("at", "Read what was there at");

    /// <summary><c>--to-version</c> and <c>--to-time</c>.</summary>
    public static MomentOptions To() => new("to", "Roll back to");

    /// <summary>The moment; now if neither option is given.</summary>
    public AsOf Read(Invocation invocation)
    {
        long? version = invocation.Get(Version);
        string? time = invocation.Get(Time);
        if (version is not null && time is not null)
        {
            throw CommandException.Usage($"{_names} exclude each other; give one");
        }

        if (version is { } number)
        {
            return number > 0 ? AsOf.AtVersion(number) : throw CommandException.Usage($"{Version.Name} is {number}; versions are whole numbers from 1");
        }

        return time is null ? AsOf.Now : AsOf.AtTime(ReadTime(time));
    }

    private long ReadTime(string text)
    {
        if (text.Length > 0 && char.IsAsciiLetterLower(text[^1]))
        {
            long now = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
            return Math.Max(1, now - (long)TimeText.Parse(text, Time.Name).TotalMilliseconds);
        }

        return IsoTime.TryParse(text, out long milliseconds) && milliseconds > 0
            ? milliseconds
            : throw CommandException.Usage($"{Time.Name} is '{text}'; write {IsoTime.Forms}, or how long ago, such as 15m");
    }
}
