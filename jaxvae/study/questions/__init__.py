"""What a finished study is asked: of new dates, scenarios, forecasts, new assets."""
