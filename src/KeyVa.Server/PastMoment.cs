namespace KeyVa.Server;

/// <summary>A version or a time as requests give it: at most one of them, and 1 or more. Stateless.</summary>
internal static class PastMoment
{
    /// <summary>The moment, now if neither is given; false with what is wrong.</summary>
    internal static bool TryRead(long? version, long? unixMilliseconds, out AsOf at, out string wrong)
    {
        at = AsOf.Now;
        wrong = (version, unixMilliseconds) switch
        {
            ({ }, { }) => "give a version or a time, not both",
            ( <= 0, _) => $"the version is {version}; versions are whole numbers from 1",
            (_, <= 0) => "the time is 1970-01-01 or before it; there is nothing from then",
            _ => "",
        };
        if (wrong.Length > 0)
        {
            return false;
        }

        at = version is { } number ? AsOf.AtVersion(number) : unixMilliseconds is { } time ? AsOf.AtTime(time) : AsOf.Now;
        return true;
    }
}
